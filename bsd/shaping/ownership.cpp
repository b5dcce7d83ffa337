#include "bsd/shaping/ownership.h"

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <system_error>

#include <nlohmann/json.hpp>
#include <sys/socket.h>
#include <sys/un.h>

#include "weights/file.h"

namespace wdmoe::shaping {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

constexpr int kVersion = 1;
constexpr std::uint64_t kMostBytes = 64 * 1024;
constexpr std::string_view kSuffix = ".json";

Result<Record> parse(const fs::path& path, const std::string& text) {
  // Whoever may write here could as well change the interface; a damaged file must not stop us.
  const json root = json::parse(text, nullptr, false);
  Record out;
  const auto bad = [&] {
    return fail(Code::bad_input, path.string() + ": expected a wdmoe ownership record, version " +
                                     std::to_string(kVersion) + "; remove the file");
  };
  if (!root.is_object() || root.value("version", json()) != kVersion) return bad();
  const json actuator = root.value("actuator", json()), interface = root.value("interface", json()),
             before = root.value("before", json());
  if (!actuator.is_string() || !interface.is_string() || !before.is_object()) return bad();
  out.actuator = actuator.get<std::string>();
  out.interface = interface.get<std::string>();
  for (const auto& [key, value] : before.items()) {
    if (!value.is_string()) return bad();
    out.before[key] = value.get<std::string>();
  }
  return out;
}

}  // namespace

fs::path Records::default_directory() {
  const char* unit = std::getenv("STATE_DIRECTORY");
  return unit != nullptr && *unit != '\0' ? unit : "/var/lib/wdmoe/bsd";
}

fs::path Records::path_of(std::string_view actuator, std::string_view interface) const {
  std::string name(actuator);
  return directory_ / name.append("-").append(interface).append(kSuffix);
}

Result<void> Records::write(const Record& record) const {
  std::error_code failed;
  fs::create_directories(directory_, failed);
  if (failed) return fail(Code::io, directory_.string() + ": " + failed.message());
  const json root{{"version", kVersion},
                  {"actuator", record.actuator},
                  {"interface", record.interface},
                  {"before", record.before}};
  return weights::write_text(path_of(record.actuator, record.interface), root.dump(2) + "\n");
}

Result<std::optional<Record>> Records::read(std::string_view actuator,
                                            std::string_view interface) const {
  const fs::path path = path_of(actuator, interface);
  const auto text = weights::read_text(path, kMostBytes);
  if (!text && text.error().code == Code::not_found) return std::optional<Record>();
  if (!text) return tl::unexpected<Error>(text.error());
  auto record = parse(path, *text);
  if (!record) return tl::unexpected<Error>(std::move(record).error());
  return std::optional<Record>(std::move(*record));
}

Result<std::vector<Record>> Records::all(std::string_view actuator) const {
  std::vector<Record> out;
  std::error_code failed;
  const std::string prefix = std::string(actuator) + "-";
  for (fs::directory_iterator entry(directory_, failed), end; !failed && entry != end;
       entry.increment(failed)) {
    const std::string name = entry->path().filename().string();
    if (name.rfind(prefix, 0) != 0 || entry->path().extension() != kSuffix) continue;
    const auto record =
        read(actuator, name.substr(prefix.size(), name.size() - prefix.size() - kSuffix.size()));
    if (!record) return tl::unexpected<Error>(record.error());
    if (*record) out.push_back(**record);
  }
  if (failed && failed != std::errc::no_such_file_or_directory)
    return fail(Code::io, directory_.string() + ": " + failed.message());
  std::sort(out.begin(), out.end(),
            [](const Record& a, const Record& b) { return a.interface < b.interface; });
  return out;
}

Result<void> Records::erase(std::string_view actuator, std::string_view interface) const {
  std::error_code failed;
  fs::remove(path_of(actuator, interface), failed);
  if (failed)
    return fail(Code::io, path_of(actuator, interface).string() + ": " + failed.message());
  return {};
}

Result<Claim> Claim::take(std::string_view actuator, std::string_view interface) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  const std::string name = "wdmoe." + std::string(actuator) + "." + std::string(interface);
  const std::size_t length = std::min(name.size(), sizeof address.sun_path - 1);
  std::memcpy(address.sun_path + 1, name.data(), length);  // a leading 0: abstract
  OwnedFd socket(::socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0));
  const auto size = static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + 1 + length);
  if (!socket.valid()) return fail(Code::io, std::string("claim: ") + std::strerror(errno));
  if (::bind(socket.get(), reinterpret_cast<const sockaddr*>(&address), size) == 0)
    return Claim(std::move(socket));
  if (errno != EADDRINUSE) return fail(Code::io, std::string("claim: ") + std::strerror(errno));
  return fail(Code::busy, "interface " + std::string(interface) +
                              " is shaped by another wdmoe process that runs (" +
                              std::string(actuator) + "); stop it, or leave the interface to it");
}

}  // namespace wdmoe::shaping
