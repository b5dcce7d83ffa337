#include "sim/airlink/namespaces.h"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <filesystem>
#include <utility>

#include <fcntl.h>
#include <sched.h>
#include <sys/file.h>
#include <sys/mount.h>
#include <sys/stat.h>

#include "common/check.h"

namespace wdmoe::airlink {
namespace {

namespace fs = std::filesystem;

constexpr const char* kFolder = "/run/netns";
constexpr const char* kLocks = "/run/wdmoe-airlink";
constexpr std::string_view kPrefix = "wdmoe.";

/// Mount points made below it later can be removed again, also by others, as `ip netns` does it.
Result<void> prepare_folder() {
  if (mkdir(kFolder, 0755) != 0 && errno != EEXIST) return refused(kFolder);
  if (mkdir(kLocks, 0755) != 0 && errno != EEXIST) return refused(kLocks);
  if (mount("", kFolder, "none", MS_SHARED | MS_REC, nullptr) == 0) return {};
  if (errno != EINVAL) return refused(kFolder);  // EINVAL: no mount point yet
  if (mount(kFolder, kFolder, "none", MS_BIND | MS_REC, nullptr) != 0 ||
      mount("", kFolder, "none", MS_SHARED | MS_REC, nullptr) != 0)
    return refused(kFolder);
  return {};
}

/// The lock of a cell; busy if a living emulator has it.
Result<OwnedFd> lock_of(const std::string& cell) {
  const std::string path = std::string(kLocks) + "/" + cell + ".lock";
  OwnedFd fd(::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600));
  if (!fd.valid()) return refused(path);
  if (flock(fd.get(), LOCK_EX | LOCK_NB) == 0) return fd;
  return fail(Code::busy, "cell '" + cell + "' is being emulated already");
}

/// "wdmoe.CELL.END" -> "CELL"; empty if it is not one of ours.
std::string cell_of(const std::string& name) {
  if (name.compare(0, kPrefix.size(), kPrefix) != 0) return "";
  const auto dot = name.find('.', kPrefix.size());
  return dot == std::string::npos ? "" : name.substr(kPrefix.size(), dot - kPrefix.size());
}

void remove_namespace(const std::string& name) {
  const std::string path = namespace_path(name);
  umount2(path.c_str(),
          MNT_DETACH);  // fails where it never was mounted: the file goes all the same
  unlink(path.c_str());
}

std::size_t remove_all_of(const std::string& cell) {
  std::vector<std::string> found;
  std::error_code error;
  for (const auto& entry : fs::directory_iterator(kFolder, error))
    if (cell_of(entry.path().filename()) == cell) found.push_back(entry.path().filename());
  for (const std::string& name : found) remove_namespace(name);
  return found.size();
}

Result<void> make_namespace(const std::string& name) {
  const std::string path = namespace_path(name);
  const OwnedFd file(::open(path.c_str(), O_RDONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0444));
  if (!file.valid()) return refused(path);
  const OwnedFd home(::open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC));
  if (!home.valid() || unshare(CLONE_NEWNET) != 0) return refused("a network namespace");
  const int mounted = mount("/proc/thread-self/ns/net", path.c_str(), "none", MS_BIND, nullptr);
  const int reason = errno;
  WDMOE_CHECK(setns(home.get(), CLONE_NEWNET) == 0);  // we came from there
  errno = reason;
  if (mounted != 0) return refused(path);
  return {};
}

}  // namespace

tl::unexpected<Error> refused(const std::string& what) {
  const bool denied = errno == EPERM || errno == EACCES;
  return fail(denied ? Code::denied : Code::io,
              what + ": " + std::strerror(errno) +
                  (denied ? "; needs root (CAP_SYS_ADMIN and CAP_NET_ADMIN)" : ""));
}

std::string namespace_name(std::string_view cell, std::string_view end) {
  return std::string(kPrefix) + std::string(cell) + "." + std::string(end);
}

std::string namespace_path(const std::string& name) {
  return std::string(kFolder) + "/" + name;
}

Result<std::size_t> Namespaces::remove_dead() {
  WDMOE_TRY(prepare_folder());
  std::vector<std::string> cells;
  std::error_code error;
  for (const auto& entry : fs::directory_iterator(kFolder, error)) {
    const std::string cell = cell_of(entry.path().filename());
    if (!cell.empty() && std::find(cells.begin(), cells.end(), cell) == cells.end())
      cells.push_back(cell);
  }
  std::size_t removed = 0;
  for (const std::string& cell : cells) {
    const auto lock = lock_of(cell);  // held until its namespaces are gone
    if (lock) removed += remove_all_of(cell);
  }
  return removed;
}

Result<Namespaces> Namespaces::make(const std::string& cell,
                                    const std::vector<std::string>& names) {
  if (const auto cleaned = remove_dead(); !cleaned) return tl::unexpected<Error>(cleaned.error());
  auto lock = lock_of(cell);
  if (!lock) return tl::unexpected<Error>(lock.error());
  Namespaces made(std::move(*lock));
  for (const std::string& name : names) {
    made.names_.push_back(name);
    WDMOE_TRY(make_namespace(name));
  }
  return made;
}

Namespaces::~Namespaces() {
  for (const std::string& name : names_) remove_namespace(name);
}

Result<Visit> Visit::to(const std::string& name) {
  if (name.empty()) return Visit(OwnedFd());
  OwnedFd home(::open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC));
  const OwnedFd there(::open(namespace_path(name).c_str(), O_RDONLY | O_CLOEXEC));
  if (!home.valid() || !there.valid() || setns(there.get(), CLONE_NEWNET) != 0)
    return refused(name);
  return Visit(std::move(home));
}

Visit::~Visit() {
  if (home_.valid()) WDMOE_CHECK(setns(home_.get(), CLONE_NEWNET) == 0);
}

}  // namespace wdmoe::airlink
