#include "weights/file.h"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <system_error>
#include <utility>

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

namespace wdmoe::weights {
namespace {

constexpr std::size_t kStep = std::size_t{8} << 20;  // page cache held at most while staging

tl::unexpected<Error> system_failure(const std::filesystem::path& path, const std::string& what,
                                     int error = errno) {
  const Code code = error == ENOENT ? Code::not_found : Code::io;
  return fail(code, path.string() + ": " + what + ": " + std::generic_category().message(error));
}

/// The size of an open regular file.
Result<std::size_t> regular_size(int fd, const std::filesystem::path& path) {
  struct stat status {};
  if (::fstat(fd, &status) != 0) return system_failure(path, "cannot look at it");
  if (!S_ISREG(status.st_mode))
    return fail(Code::bad_input, path.string() + ": expected a regular file");
  return static_cast<std::size_t>(status.st_size);
}

Result<void> stage(int fd, const std::filesystem::path& path, std::byte* to, std::size_t size) {
  for (std::size_t done = 0; done < size;) {
    const std::size_t step = std::min(kStep, size - done);
    const ssize_t got = ::pread(fd, to + done, step, static_cast<off_t>(done));
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return system_failure(path, "cannot read");
    if (got == 0) return fail(Code::io, path.string() + ": became shorter while it was read");
    ::posix_fadvise(fd, static_cast<off_t>(done), got, POSIX_FADV_DONTNEED);
    done += static_cast<std::size_t>(got);
  }
  return {};
}

Result<void> write_all(int fd, const std::filesystem::path& path, Bytes bytes) {
  while (!bytes.empty()) {
    const ssize_t wrote = ::write(fd, bytes.data(), bytes.size());
    if (wrote < 0 && errno == EINTR) continue;
    if (wrote < 0) return system_failure(path, "cannot write");
    bytes = bytes.subspan(static_cast<std::size_t>(wrote));
  }
  return {};
}

}  // namespace

Result<RegularFile> open_regular(const std::filesystem::path& path) {
  // O_NONBLOCK: a FIFO put in a file's place must not hang us; regular files ignore it.
  OwnedFd fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK));
  if (!fd.valid()) return system_failure(path, "cannot open");
  const auto size = regular_size(fd.get(), path);
  if (!size) return tl::unexpected(size.error());
  return RegularFile{std::move(fd), *size};
}

Result<FileBytes> FileBytes::open(const std::filesystem::path& path, Access access) {
  auto file = open_regular(path);
  if (!file) return tl::unexpected(file.error());
  const std::size_t size = file->size;
  if (size == 0) return FileBytes(nullptr, 0);

  if (access == Access::mapped) {
    void* address = ::mmap(nullptr, size, PROT_READ, MAP_PRIVATE, file->fd.get(), 0);
    if (address == MAP_FAILED) return system_failure(path, "cannot map into memory");
    return FileBytes(address, size, std::move(file->fd));
  }
  void* address = ::mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (address == MAP_FAILED)
    return system_failure(path, "no memory for its " + std::to_string(size) + " bytes");
  FileBytes staged(address, size);
  ::madvise(address, size, MADV_HUGEPAGE);  // fewer TLB misses while weights stream; a wish only
  if (auto read = stage(file->fd.get(), path, static_cast<std::byte*>(address), size); !read)
    return tl::unexpected(std::move(read).error());
  ::mprotect(address, size, PROT_READ);
  return staged;
}

FileBytes::FileBytes(FileBytes&& other) noexcept
    : address_(std::exchange(other.address_, nullptr)),
      size_(std::exchange(other.size_, 0)),
      mapped_(std::move(other.mapped_)) {}

FileBytes& FileBytes::operator=(FileBytes&& other) noexcept {
  std::swap(address_, other.address_);
  std::swap(size_, other.size_);
  std::swap(mapped_, other.mapped_);
  return *this;
}

void FileBytes::forget(Bytes part) const {
  if (!mapped_.valid() || part.empty()) return;
  const auto page = static_cast<std::uintptr_t>(::sysconf(_SC_PAGESIZE));
  const auto start = reinterpret_cast<std::uintptr_t>(address_);
  const auto first = (reinterpret_cast<std::uintptr_t>(part.data()) + page - 1) / page * page;
  const auto end = reinterpret_cast<std::uintptr_t>(part.data() + part.size()) / page * page;
  if (first >= end) return;  // not one whole page: neighbours may be in use
  // Wishes: a failure leaves pages where they are, which is right as well.
  ::madvise(reinterpret_cast<void*>(first), end - first, MADV_DONTNEED);
  ::posix_fadvise(mapped_.get(), static_cast<off_t>(first - start), static_cast<off_t>(end - first),
                  POSIX_FADV_DONTNEED);
}

FileBytes::~FileBytes() {
  if (address_ != nullptr) ::munmap(address_, size_);
}

Result<std::string> read_text(const std::filesystem::path& path, std::uint64_t most_bytes) {
  const auto file = open_regular(path);
  if (!file) return tl::unexpected(file.error());
  if (file->size > most_bytes)
    return fail(Code::limit, path.string() + ": " + std::to_string(file->size) +
                                 " bytes, expected at most " + std::to_string(most_bytes));
  std::string text(file->size, '\0');
  if (auto read =
          stage(file->fd.get(), path, reinterpret_cast<std::byte*>(text.data()), text.size());
      !read)
    return tl::unexpected(std::move(read).error());
  return text;
}

Result<AtomicFile> AtomicFile::create(const std::filesystem::path& path) {
  std::string temporary = path.string() + ".XXXXXX";
  const int fd = ::mkostemp(temporary.data(), O_CLOEXEC);
  if (fd < 0) return system_failure(path, "cannot create");
  AtomicFile file(fd, path, temporary);
  if (::fchmod(fd, 0644) != 0) return system_failure(path, "cannot set its permissions");
  return file;
}

AtomicFile::AtomicFile(AtomicFile&& other) noexcept
    : fd_(std::exchange(other.fd_, -1)),
      path_(std::move(other.path_)),
      temporary_(std::move(other.temporary_)) {}

AtomicFile& AtomicFile::operator=(AtomicFile&& other) noexcept {
  std::swap(fd_, other.fd_);
  std::swap(path_, other.path_);
  std::swap(temporary_, other.temporary_);
  return *this;
}

AtomicFile::~AtomicFile() {
  discard();
}

void AtomicFile::discard() {
  if (fd_ < 0) return;
  ::close(std::exchange(fd_, -1));
  ::unlink(temporary_.c_str());
}

Result<void> AtomicFile::write(Bytes bytes) {
  return write_all(fd_, path_, bytes);
}

Result<void> AtomicFile::commit() {
  if (::fsync(fd_) != 0) return system_failure(path_, "cannot flush to disk");
  if (::rename(temporary_.c_str(), path_.c_str()) != 0)
    return system_failure(path_, "cannot rename its temporary file");
  ::close(std::exchange(fd_, -1));
  const OwnedFd folder(::open(path_.parent_path().empty() ? "." : path_.parent_path().c_str(),
                              O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (folder.get() < 0 || ::fsync(folder.get()) != 0)
    return system_failure(path_.parent_path(), "cannot flush the folder to disk");
  return {};
}

Result<void> write_text(const std::filesystem::path& path, const std::string& text) {
  auto file = AtomicFile::create(path);
  if (!file) return tl::unexpected(std::move(file).error());
  WDMOE_TRY(file->write({reinterpret_cast<const std::byte*>(text.data()), text.size()}));
  return file->commit();
}

Result<void> check_space(const std::filesystem::path& folder, std::uint64_t bytes) {
  std::error_code ignored;
  std::filesystem::path existing = std::filesystem::absolute(folder, ignored);
  while (!std::filesystem::exists(existing, ignored) && existing.has_relative_path())
    existing = existing.parent_path();
  struct statvfs status {};
  if (::statvfs(existing.c_str(), &status) != 0)
    return system_failure(existing, "cannot ask for free space");
  const std::uint64_t free = std::uint64_t{status.f_bavail} * status.f_frsize;
  if (free >= bytes) return {};
  return fail(Code::limit, folder.string() + ": needs " + std::to_string(bytes >> 20) +
                               " MiB, but only " + std::to_string(free >> 20) +
                               " MiB are free; make room or choose another disk");
}

Result<void> prepare_output(const std::filesystem::path& folder, bool force) {
  std::error_code error;
  std::filesystem::create_directories(folder, error);
  if (error) return system_failure(folder, "cannot make the folder", error.value());
  const bool empty = std::filesystem::is_empty(folder, error);
  if (error) return system_failure(folder, "cannot look into the folder", error.value());
  if (empty || force) return {};
  return fail(Code::denied,
              folder.string() + ": is not empty; choose another folder or pass --force");
}

}  // namespace wdmoe::weights
