#include "wire/keys.h"

#include <algorithm>
#include <cerrno>
#include <cstdint>
#include <cstdlib>
#include <cstring>

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zmq.h>

#include "common/fd.h"
#include "wire/messages.h"

namespace wdmoe::wire {
namespace {

namespace fs = std::filesystem;

constexpr std::size_t kLargestKeyFile = 4096;  // one key and a few comments
constexpr std::size_t kMostAgents = 1024;

std::string reason() {
  return std::strerror(errno);
}

bool is_key_text(std::string_view text) {
  std::array<std::uint8_t, kKeyText / 5 * 4> raw{};
  const std::string copy(text);
  return text.size() == kKeyText && zmq_z85_decode(raw.data(), copy.c_str()) != nullptr;
}

/// Mode bits that a secret key must not have.  In systemd's credentials folder, which only this
/// service can enter, the group bits are the mask of an access list, not a group's rights.
mode_t readable_by_others(const fs::path& file) {
  const char* credentials = std::getenv("CREDENTIALS_DIRECTORY");
  return credentials != nullptr && file.parent_path() == fs::path(credentials) ? 007 : 077;
}

Result<std::string> read_small(const fs::path& file, bool secret) {
  const OwnedFd fd(::open(file.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK));
  if (!fd.valid())
    return fail(errno == ENOENT ? Code::not_found : Code::io,
                file.string() + ": cannot read the key: " + reason() +
                    (errno == ENOENT ? "; `wdmoe keygen` makes one" : ""));
  struct stat status {};
  if (::fstat(fd.get(), &status) != 0 || !S_ISREG(status.st_mode))
    return fail(Code::bad_input, file.string() + ": not a regular file: expected a key file");
  if (secret && (status.st_mode & readable_by_others(file)) != 0)
    return fail(Code::denied, file.string() + ": a secret key that others may read: chmod 600 it");
  std::string text(kLargestKeyFile, '\0');
  const ssize_t got = ::read(fd.get(), text.data(), text.size());
  if (got < 0) return fail(Code::io, file.string() + ": cannot read the key: " + reason());
  text.resize(static_cast<std::size_t>(got));
  return text;
}

/// The one line that is no comment.
Result<std::string> read_key_line(const fs::path& file, bool secret) {
  auto text = read_small(file, secret);
  if (!text) return text;
  std::string key;
  std::size_t begin = 0;
  while (begin < text->size()) {
    const std::size_t end = std::min(text->find('\n', begin), text->size());
    std::string line = text->substr(begin, end - begin);
    if (!line.empty() && line.back() == '\r') line.pop_back();
    // '#' is a Z85 digit as well; a comment has a blank after it.
    if (!line.empty() && line.compare(0, 2, "# ") != 0) key += line;
    begin = end + 1;
  }
  if (!is_key_text(key))
    return fail(Code::bad_input, file.string() +
                                     ": no key: expected one line of 40 Z85 characters, "
                                     "as `wdmoe keygen` writes it");
  return key;
}

Result<void> write_whole(const fs::path& file, const std::string& text, mode_t mode) {
  const std::string temporary = file.string() + ".part";
  ::unlink(temporary.c_str());
  OwnedFd fd(::open(temporary.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, mode));
  const auto size = static_cast<ssize_t>(text.size());
  const bool written = fd.valid() && ::fchmod(fd.get(), mode) == 0 &&
                       ::write(fd.get(), text.data(), text.size()) == size &&
                       ::fsync(fd.get()) == 0 && ::rename(temporary.c_str(), file.c_str()) == 0;
  if (written) return {};
  const std::string why = reason();
  ::unlink(temporary.c_str());
  return fail(Code::io, file.string() + ": cannot write the key: " + why);
}

}  // namespace

Result<Secret> Secret::from_text(std::string_view z85) {
  if (!is_key_text(z85)) return fail(Code::bad_input, "not a key: expected 40 Z85 characters");
  Secret secret;
  std::copy(z85.begin(), z85.end(), secret.text_.begin());
  return secret;
}

Secret::~Secret() {
  ::explicit_bzero(text_.data(), text_.size());
}

Result<PublicKey> public_key_from_text(std::string_view z85) {
  if (!is_key_text(z85)) return fail(Code::bad_input, "not a key: expected 40 Z85 characters");
  return PublicKey(z85);
}

Result<KeyPair> make_keys() {
  char public_text[kKeyText + 1] = {}, secret_text[kKeyText + 1] = {};
  if (zmq_curve_keypair(public_text, secret_text) != 0)
    return fail(Code::unsupported,
                "this libzmq was built without CURVE: install the "
                "distribution's libzmq5");
  auto secret = Secret::from_text(secret_text);
  ::explicit_bzero(secret_text, sizeof secret_text);
  if (!secret) return tl::unexpected<Error>(secret.error());
  return KeyPair{public_text, *secret};
}

Result<PublicKey> public_key_of(const Secret& secret) {
  char text[kKeyText + 1] = {};
  if (zmq_curve_public(text, secret.reveal()) != 0)
    return fail(Code::unsupported, "cannot derive a public key: libzmq without CURVE");
  return PublicKey(text);
}

Result<KeyPair> write_keys(const fs::path& directory, const std::string& name, bool force) {
  if (!is_agent_name(name))
    return fail(Code::bad_input, "name '" + name + "': expected 1 to 64 of A-Z a-z 0-9 . _ -");
  std::error_code error;
  fs::create_directories(directory, error);
  if (error) return fail(Code::io, directory.string() + ": cannot create: " + error.message());
  const fs::path secret_file = directory / (name + ".key"),
                 public_file = directory / (name + ".pub");
  for (const fs::path& file : {secret_file, public_file})
    if (!force && fs::exists(fs::symlink_status(file, error)))
      return fail(Code::denied, file.string() + ": exists already; --force replaces it");
  auto pair = make_keys();
  if (!pair) return pair;
  WDMOE_TRY(write_whole(secret_file, std::string(pair->secret.reveal()) + "\n", 0600));
  WDMOE_TRY(write_whole(public_file, pair->public_key + "\n", 0644));
  return pair;
}

Result<Secret> read_secret(const fs::path& file) {
  auto key = read_key_line(file, true);
  if (!key) return tl::unexpected<Error>(std::move(key).error());
  auto secret = Secret::from_text(*key);
  ::explicit_bzero(key->data(), key->size());
  return secret;
}

Result<PublicKey> read_public(const fs::path& file) {
  return read_key_line(file, false);
}

Result<AllowList> read_allow_list(const fs::path& directory) {
  AllowList agents;
  std::error_code error;
  fs::directory_iterator entry(directory, error);
  if (error)
    return fail(Code::io, directory.string() + ": cannot list the authorised agents: " +
                              error.message() + "; expected a directory of NAME.pub files");
  for (; entry != fs::directory_iterator(); entry.increment(error)) {
    const fs::path& file = entry->path();
    if (file.extension() != ".pub") continue;
    const std::string name = file.stem().string();
    if (!is_agent_name(name))
      return fail(Code::bad_input, file.string() +
                                       ": expected 1 to 64 of A-Z a-z 0-9 . _ - "
                                       "before .pub");
    if (agents.size() >= kMostAgents)
      return fail(Code::limit, directory.string() + ": more than 1024 agents");
    const auto key = read_public(file);
    if (!key) return tl::unexpected<Error>(key.error());
    const auto [known, added] = agents.emplace(*key, name);
    if (!added)
      return fail(Code::bad_input, file.string() + ": the same key as " + known->second +
                                       ".pub: one key is one agent; make another with "
                                       "`wdmoe keygen`");
    if (error) break;
  }
  if (error) return fail(Code::io, directory.string() + ": cannot list: " + error.message());
  return agents;
}

bool is_ipc(std::string_view endpoint) {
  return endpoint.substr(0, 6) == "ipc://" || endpoint.substr(0, 9) == "inproc://";
}

Result<std::optional<ServerKeys>> server_keys(std::string_view endpoint, bool insecure,
                                              const fs::path& secret_file,
                                              const fs::path& agents_directory) {
  if (insecure || (is_ipc(endpoint) && secret_file.empty())) return std::optional<ServerKeys>();
  if (secret_file.empty())
    return fail(Code::bad_input, std::string(endpoint) +
                                     " needs a secret key (`wdmoe keygen`), or "
                                     "insecure = true");
  auto secret = read_secret(secret_file);
  if (!secret) return tl::unexpected<Error>(std::move(secret).error());
  auto agents = read_allow_list(agents_directory);
  if (!agents) return tl::unexpected<Error>(std::move(agents).error());
  return std::optional<ServerKeys>(ServerKeys{*secret, std::move(*agents)});
}

Result<std::optional<ClientKeys>> client_keys(std::string_view endpoint, bool insecure,
                                              const fs::path& secret_file,
                                              const fs::path& server_public_file) {
  if (insecure || (is_ipc(endpoint) && secret_file.empty())) return std::optional<ClientKeys>();
  if (secret_file.empty() || server_public_file.empty())
    return fail(Code::bad_input, std::string(endpoint) +
                                     " needs a secret key and the base station's "
                                     "public key, or insecure = true");
  auto secret = read_secret(secret_file);
  if (!secret) return tl::unexpected<Error>(std::move(secret).error());
  auto own = public_key_of(*secret);
  if (!own) return tl::unexpected<Error>(std::move(own).error());
  auto server = read_public(server_public_file);
  if (!server) return tl::unexpected<Error>(std::move(server).error());
  return std::optional<ClientKeys>(ClientKeys{{*own, *secret}, *server});
}

}  // namespace wdmoe::wire
