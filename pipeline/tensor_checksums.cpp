#include "pipeline/tensor_checksums.hpp"

#include "core/compute_stream.hpp"
#include "layers/kernels/checksum.hpp"

#include <algorithm>

namespace sluice {

namespace {

/// Memory of GPUs has no size 0.
std::size_t bytes_for(std::size_t num_tensors)
{
    return aligned_bytes(std::max<std::size_t>(1, num_tensors) * size_of(DType::f64));
}

} // namespace

TensorChecksums::TensorChecksums(const Stream& stream, std::size_t num_sums,
                                 std::size_t most_tensors)
    : stream_(stream), memory_(bytes_for(most_tensors), stream.device),
      found_(memory_.allocate(DType::f64, {static_cast<std::int64_t>(most_tensors)})),
      ring_(stream, bytes_for(most_tensors)), sums_(num_sums)
{
    terms_.reserve(most_tensors);
}

void TensorChecksums::clear() { terms_.clear(); }

void TensorChecksums::add(std::size_t sum, const TensorView& tensor, std::uint64_t weight)
{
    SLUICE_CHECK(sum < sums_.size() && terms_.size() < terms_.capacity(),
                 "sum " << sum << " of " << sums_.size() << ", tensor " << terms_.size() << " of "
                        << terms_.capacity());
    const auto place = static_cast<std::int64_t>(terms_.size());
    kernels::launch(stream_, kernels::Checksum{.x = tensor, .result = found_.slice(place, {1})});
    terms_.push_back({sum, weight});
}

void TensorChecksums::send()
{
    if (terms_.empty() || stream_.device.kind == DeviceKind::cpu)
        return;
    const Shape shape{static_cast<std::int64_t>(terms_.size())};
    row_ = ring_.next();
    copy(stream_, found_.slice(0, shape), ring_.row(row_, DType::f64, shape));
    ring_.mark();
}

std::span<const std::uint64_t> TensorChecksums::sums()
{
    std::fill(sums_.begin(), sums_.end(), 0);
    if (terms_.empty())
        return sums_;
    TensorView found = found_;
    if (stream_.device.kind != DeviceKind::cpu) {
        ring_.wait(row_);
        found = ring_.row(row_, DType::f64, {static_cast<std::int64_t>(terms_.size())});
    }
    for (std::size_t i = 0; i < terms_.size(); ++i) {
        const double checksum = found.as<double>()[i];
        SLUICE_CHECK(checksum >= 0.0 && checksum <= static_cast<double>(kernels::checksum_mask),
                     "checksum " << i << " is " << checksum);
        sums_[terms_[i].sum] += terms_[i].weight * static_cast<std::uint64_t>(checksum);
    }
    return sums_;
}

} // namespace sluice
