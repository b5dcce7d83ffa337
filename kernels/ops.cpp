#include "kernels/ops.h"

#include "kernels/expert_backend.h"
#include "kernels/reference.h"

namespace wdmoe::kernels {

void linear(ThreadPool&, Tensor weight, Matrix<const float> x, Matrix<float> y) {
  reference::linear(weight, x, y);
}
void linear_add(ThreadPool&, Tensor weight, Matrix<const float> x, Matrix<float> y) {
  reference::linear_add(weight, x, y);
}
void rms_norm(Tensor weight, float epsilon, Matrix<const float> x, Matrix<float> y) {
  reference::rms_norm(weight, epsilon, x, y);
}
void copy_row(Tensor table, std::size_t index, float* out) {
  reference::copy_row(table, index, out);
}
void from_wire(Tensor rows, Matrix<float> out) {
  reference::from_wire(rows, out);
}
bool to_wire(Matrix<const float> rows, MutableTensor out) {
  return reference::to_wire(rows, out);
}
void add_scaled(float a, Matrix<const float> x, Matrix<float> y) {
  reference::add_scaled(a, x, y);
}
void rotate(Matrix<float> heads, std::size_t head_dim, Span<const std::uint32_t> positions,
            Span<const float> inverse_frequency) {
  reference::rotate(heads, head_dim, positions, inverse_frequency);
}
void softmax_rows(Matrix<float> x) {
  reference::softmax_rows(x);
}
void attend(ThreadPool&, const AttentionShape& shape, Span<const AttentionJob> jobs,
            Matrix<const float> q, Matrix<float> out) {
  reference::attend(shape, jobs, q, out);
}
const char* instruction_set() {
  return "scalar";
}

std::unique_ptr<ExpertBackend> make_cpu_backend(ThreadPool&) {
  return make_reference_backend();
}

}  // namespace wdmoe::kernels
