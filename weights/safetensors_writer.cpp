#include "weights/safetensors_writer.h"

#include "common/check.h"

namespace wdmoe::weights {

Result<SafetensorsWriter> SafetensorsWriter::create(
    const std::filesystem::path& path, const std::vector<TensorEntry>& tensors,
    const std::map<std::string, std::string>& metadata) {
  const auto header = safetensors_header(tensors, metadata);
  if (!header) return fail(path.string(), header.error());
  std::uint64_t data_bytes = 0;  // cannot overflow: safetensors_header() added it up
  for (const TensorEntry& tensor : tensors) data_bytes += *tensor_bytes(tensor.dtype, tensor.shape);
  auto file = AtomicFile::create(path);
  if (!file) return tl::unexpected(std::move(file).error());
  SafetensorsWriter writer(std::move(*file), path.filename().string(), data_bytes);
  WDMOE_TRY(writer.write({reinterpret_cast<const std::byte*>(header->data()), header->size()}));
  return writer;
}

Result<void> SafetensorsWriter::write(Bytes bytes) {
  WDMOE_TRY(file_.write(bytes));
  digest_.add(bytes);
  written_ += bytes.size();
  return {};
}

Result<void> SafetensorsWriter::append(Bytes bytes) {
  WDMOE_CHECK(bytes.size() <= missing_);
  missing_ -= bytes.size();
  return write(bytes);
}

Result<FileDigest> SafetensorsWriter::finish() {
  WDMOE_CHECK(missing_ == 0);
  WDMOE_TRY(file_.commit());
  return FileDigest{name_, written_, digest_.hex()};
}

}  // namespace wdmoe::weights
