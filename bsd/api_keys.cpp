#include "bsd/api_keys.h"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <utility>

#include <fcntl.h>
#include <openssl/crypto.h>
#include <openssl/rand.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/config.h"
#include "common/fd.h"
#include "common/log.h"
#include "weights/sha256.h"

namespace wdmoe::bsd {
namespace {

namespace fs = std::filesystem;

constexpr std::string_view kPrefix = "wdmoe-";  // so that scanners of repositories find leaked keys
constexpr std::string_view kScheme = " sha256:";
constexpr std::size_t kSecretBytes = 32;
constexpr std::size_t kLongestName = 64;
// A revoked key is refused a second later; this leaves room for the request that looks.
constexpr std::chrono::milliseconds kLookAgain{500};

std::string digest_of(std::string_view key) {
  weights::Sha256 hash;
  hash.add(key);
  return hash.hex();
}

bool is_name(std::string_view name) {
  return !name.empty() && name.size() <= kLongestName && name.front() != '#' &&
         std::all_of(name.begin(), name.end(), [](char c) { return c > ' ' && c < 0x7f; });
}

bool is_hex(std::string_view text) {
  return text.find_first_not_of("0123456789abcdef") == std::string_view::npos;
}

tl::unexpected<Error> failed(const fs::path& file, const char* what) {
  return fail(errno == ENOENT ? Code::not_found : Code::io,
              file.string() + ": cannot " + what + ": " + std::strerror(errno) +
                  "; `wdmoe keygen --api FILE NAME` makes one");
}

Result<ApiKeys> read_keys(const fs::path& file) {
  struct stat status {};
  if (::stat(file.c_str(), &status) != 0) return failed(file, "read the API keys");
  if ((status.st_mode & (S_IWGRP | S_IWOTH)) != 0)
    return fail(Code::denied, file.string() +
                                  ": others may write this file and so let themselves in: "
                                  "chmod go-w it");
  const auto text = read_config_file(file.string());
  if (!text) return tl::unexpected<Error>(text.error());
  return ApiKeys::parse(*text, file.string());
}

}  // namespace

Result<ApiKeys> ApiKeys::parse(std::string_view text, std::string_view file) {
  ApiKeys keys;
  for (std::size_t begin = 0, number = 1; begin < text.size(); ++number) {
    const std::size_t end = std::min(text.find('\n', begin), text.size());
    std::string_view line = text.substr(begin, end - begin);
    begin = end + 1;
    if (!line.empty() && line.back() == '\r') line.remove_suffix(1);
    if (line.empty() || line.front() == '#') continue;
    const auto where = std::string(file) + ":" + std::to_string(number);
    const std::size_t space = line.find(kScheme);
    const auto name = line.substr(0, space);
    const auto digest =
        space == std::string_view::npos ? std::string_view() : line.substr(space + kScheme.size());
    Entry entry;
    if (!is_name(name) || digest.size() != entry.digest.size() || !is_hex(digest))
      return fail(Code::bad_input,
                  where + ": expected NAME sha256:HEX, as `wdmoe keygen --api` writes it");
    if (keys.knows(name))
      return fail(Code::bad_input, where + ": '" + std::string(name) + "' has a key above already");
    if (keys.size() >= kMostApiKeys) return fail(Code::limit, where + ": more than 1024 keys");
    entry.name = name;
    std::copy(digest.begin(), digest.end(), entry.digest.begin());
    keys.entries_.push_back(std::move(entry));
  }
  return keys;
}

bool ApiKeys::allow(std::string_view key) const {
  const std::string digest = digest_of(key);
  bool found = false;
  for (const Entry& entry : entries_)
    found |= CRYPTO_memcmp(digest.data(), entry.digest.data(), entry.digest.size()) == 0;
  return found;
}

bool ApiKeys::knows(std::string_view name) const {
  return std::any_of(entries_.begin(), entries_.end(),
                     [&](const Entry& entry) { return entry.name == name; });
}

Result<std::string> add_api_key(const fs::path& file, const std::string& name) {
  if (!is_name(name))
    return fail(Code::bad_input,
                "name '" + name + "': expected 1 to 64 visible ASCII characters, no blank");
  // Everybody may read it: nobody finds a key of 256 random bits from its hash.
  const OwnedFd fd(::open(file.c_str(), O_RDWR | O_CREAT | O_APPEND | O_CLOEXEC, 0644));
  if (!fd.valid()) return failed(file, "write the API keys");
  const auto known = read_keys(file);
  if (!known) return tl::unexpected<Error>(known.error());
  if (known->knows(name))
    return fail(Code::denied,
                file.string() + ": '" + name + "' has a key; remove its line to replace it");
  if (known->size() >= kMostApiKeys)
    return fail(Code::limit, file.string() + ": holds 1024 keys, the most there may be");

  std::array<unsigned char, kSecretBytes> secret{};
  if (RAND_bytes(secret.data(), static_cast<int>(secret.size())) != 1)
    return fail(Code::io, "no random numbers from OpenSSL; is /dev/urandom there?");
  std::string key = std::string(kPrefix) + weights::hex_of(secret);
  OPENSSL_cleanse(secret.data(), secret.size());
  const std::string line = name + std::string(kScheme) + digest_of(key) + "\n";
  if (::write(fd.get(), line.data(), line.size()) != static_cast<ssize_t>(line.size()) ||
      ::fsync(fd.get()) != 0)
    return failed(file, "write the API keys");
  return key;
}

std::optional<ApiKeyFile::Version> ApiKeyFile::version_of(const fs::path& file) {
  struct stat status {};
  if (::stat(file.c_str(), &status) != 0) return std::nullopt;
  return Version{status.st_ino, status.st_size, status.st_mtim.tv_sec, status.st_mtim.tv_nsec};
}

Result<ApiKeyFile> ApiKeyFile::open(fs::path file) {
  ApiKeyFile keys(std::move(file));
  WDMOE_TRY(keys.read());
  return keys;
}

Result<void> ApiKeyFile::read() {
  looked_ = std::chrono::steady_clock::now();
  version_ = version_of(file_);  // before its bytes: what changes meanwhile is seen next time
  auto keys = read_keys(file_);
  keys_ = keys ? std::move(*keys) : ApiKeys();
  if (!keys) return tl::unexpected<Error>(keys.error());
  return {};
}

bool ApiKeyFile::allow(std::string_view key) {
  if (std::chrono::steady_clock::now() - looked_ >= kLookAgain) {
    looked_ = std::chrono::steady_clock::now();
    if (version_of(file_) != version_) {
      if (const auto done = read(); done)
        log::info("api_keys_read", {{"file", file_.string()}, {"keys", keys_.size()}});
      else
        log::error("api_keys_unusable",
                   {{"reason", done.error().text}, {"consequence", "no request is let in"}});
    }
  }
  return keys_.allow(key);
}

}  // namespace wdmoe::bsd
