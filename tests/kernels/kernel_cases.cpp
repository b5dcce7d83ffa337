#include "tests/kernels/kernel_cases.h"

#include "kernels/targets.h"
// targets.h must come before Highway
#include <cmath>
#include <limits>

#include <hwy/targets.h>

#include "kernels/reference.h"

namespace wdmoe::kernels {

void for_each_target(const std::function<void(const char* name)>& check) {
  for (const std::int64_t target : hwy::SupportedAndGeneratedTargets()) {
    hwy::SetSupportedTargetsForTest(target);
    hwy::GetChosenTarget().Update(hwy::SupportedTargets());
    check(instruction_set().c_str());
  }
  hwy::SetSupportedTargetsForTest(0);
  hwy::GetChosenTarget().Update(hwy::SupportedTargets());
}

std::vector<float> random_floats(std::size_t count, std::mt19937& random) {
  std::uniform_real_distribution<float> uniform(-1, 1);
  std::vector<float> values(count);
  for (float& value : values) value = uniform(random);
  return values;
}

OwnedTensor::OwnedTensor(std::size_t rows, std::size_t cols, DType dtype, std::size_t offset,
                         std::mt19937& random)
    : bytes_(offset + rows * cols * bytes_of(dtype)),
      rows_(rows),
      cols_(cols),
      offset_(offset),
      dtype_(dtype) {
  const std::vector<float> values = random_floats(rows * cols, random);
  reference::to_wire({values.data(), rows, cols}, writable());
}

Tensor OwnedTensor::view() const {
  return {bytes_.data() + offset_, dtype_, rows_, cols_};
}

MutableTensor OwnedTensor::writable() {
  return {bytes_.data() + offset_, dtype_, rows_, cols_};
}

void WorstError::see(double actual, double expected, double bound) {
  const double error = std::fabs(actual - expected);
  const double ratio = error == 0 ? 0 : error / bound;
  // A NaN must count as the worst of errors.
  worst_ = ratio >= worst_ || ratio < worst_ ? std::fmax(worst_, ratio)
                                             : std::numeric_limits<double>::infinity();
}

}  // namespace wdmoe::kernels
