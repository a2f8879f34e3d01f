#include "pipeline/host_exchange.hpp"

#include "core/compute_stream.hpp"
#include "layers/loss_head.hpp"

#include <utility>

namespace sluice {

TokenUpload::TokenUpload(const Stream& stream, std::int64_t num_tokens)
    : ring_(stream, static_cast<std::size_t>(num_tokens) * size_of(DType::i32))
{
}

LossDownload::LossDownload(const Stream& stream, std::int64_t num_tokens)
    : stream_(stream), shape_{num_tokens},
      ring_(stream, static_cast<std::size_t>(num_tokens) * size_of(DType::f64)),
      sums_(ring_.num_rows(), nullptr)
{
}

void LossDownload::operator()(const TensorView& losses, double& sum)
{
    if (losses.device.kind == DeviceKind::cpu) {
        sum = sum_of_losses(losses.elements<double>());
        return;
    }
    const std::size_t row = ring_.next();
    add_up(row);
    copy(stream_, losses, ring_.row(row, DType::f64, shape_));
    ring_.mark();
    sums_[row] = &sum;
}

void LossDownload::add_up(std::size_t row)
{
    if (double* const sum = std::exchange(sums_[row], nullptr))
        *sum = sum_of_losses(ring_.row(row, DType::f64, shape_).elements<double>());
}

void LossDownload::finish()
{
    for (std::size_t row = 0; row < sums_.size(); ++row)
        if (sums_[row] != nullptr) {
            ring_.wait(row);
            add_up(row);
        }
}

} // namespace sluice
