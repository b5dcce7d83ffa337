#pragma once
// Whole files as read-only bytes, mapped or read once into memory of our own; and files written so
// that a reader never sees half of one.  The only code of weights/ that knows the operating system.

#include <cstdint>
#include <filesystem>
#include <string>
#include <utility>

#include "common/fd.h"
#include "common/result.h"
#include "common/span.h"

namespace wdmoe::weights {

struct RegularFile {
  OwnedFd fd;
  std::size_t size;  ///< bytes, when it was opened
};

/// Opens a file to read.  Errors (not_found, io, bad_input for what is no regular file) name the
/// path; never waits, also not for a FIFO.
Result<RegularFile> open_regular(const std::filesystem::path& path);

/// How a file's bytes come into memory.
enum class Access {
  mapped,  ///< pages of the page cache: no copy; the file must not shrink while it is open (SIGBUS)
  staged,  ///< one private copy, read in steps whose cached pages are dropped: never two copies
};

/// The bytes of one regular file, read-only, as long as this object lives.
class FileBytes {
 public:
  /// Errors (io, not_found, bad_input) name the path.  Symbolic links are followed.
  static Result<FileBytes> open(const std::filesystem::path& path, Access access);

  FileBytes(FileBytes&& other) noexcept;
  FileBytes& operator=(FileBytes&& other) noexcept;
  ~FileBytes();

  Bytes bytes() const { return {static_cast<const std::byte*>(address_), size_}; }

  /// Gives the memory behind `part` of a mapped file back to the system; whoever reads it later
  /// waits for the disk again.  Staged bytes stay.
  void forget(Bytes part) const;

 private:
  FileBytes(void* address, std::size_t size, OwnedFd mapped = OwnedFd())
      : address_(address), size_(size), mapped_(std::move(mapped)) {}

  void* address_ = nullptr;
  std::size_t size_ = 0;
  OwnedFd mapped_;  ///< the file, where it is mapped
};

/// A small text file, whole; `limit` when it is larger than `most_bytes`.
Result<std::string> read_text(const std::filesystem::path& path, std::uint64_t most_bytes);

/// A file under a temporary name until commit(): written, flushed to disk, then renamed.
/// Destroyed without commit, it leaves nothing behind.
class AtomicFile {
 public:
  static Result<AtomicFile> create(const std::filesystem::path& path);

  AtomicFile(AtomicFile&& other) noexcept;
  AtomicFile& operator=(AtomicFile&& other) noexcept;
  ~AtomicFile();

  Result<void> write(Bytes bytes);
  Result<void> commit();  ///< fsync, rename, fsync of the folder

 private:
  AtomicFile(int fd, std::filesystem::path path, std::filesystem::path temporary)
      : fd_(fd), path_(std::move(path)), temporary_(std::move(temporary)) {}
  void discard();

  int fd_ = -1;
  std::filesystem::path path_, temporary_;
};

/// Writes `text` as a whole file at once, atomically.
Result<void> write_text(const std::filesystem::path& path, const std::string& text);

/// `limit` unless the file system that holds `folder` (or its nearest existing parent) has room.
Result<void> check_space(const std::filesystem::path& folder, std::uint64_t bytes);

/// Makes `folder` (and its parents); `denied` if it exists and is not empty, unless `force`.
Result<void> prepare_output(const std::filesystem::path& folder, bool force);

}  // namespace wdmoe::weights
