#include "pipeline/host_exchange.hpp"

#include "core/compute_stream.hpp"
#include "core/cuda/gpu_stream.hpp"
#include "core/cuda/memory.hpp"
#include "layers/loss_head.hpp"

#include <utility>

namespace sluice {

namespace {

constexpr std::size_t num_ring_rows = 8;

} // namespace

struct HostRing::Row {
    explicit Row(std::size_t num_bytes) : memory(num_bytes) {}
    PinnedMemory memory;
    GpuEvent copied;
    bool under_way = false;
};

HostRing::HostRing(const Stream& stream, std::size_t row_bytes) : stream_(stream)
{
    if (stream.device.kind == DeviceKind::cuda)
        for (std::size_t i = 0; i < num_ring_rows; ++i)
            rows_.push_back(std::make_unique<Row>(row_bytes));
}

HostRing::~HostRing() = default;

std::size_t HostRing::next()
{
    current_ = (current_ + 1) % rows_.size();
    wait(current_);
    rows_[current_]->under_way = false;
    return current_;
}

TensorView HostRing::row(std::size_t number, DType dtype, const Shape& shape) const
{
    const TensorView view{rows_[number]->memory.data(), dtype, shape, {}};
    SLUICE_CHECK(view.num_bytes() <= rows_[number]->memory.num_bytes(),
                 view.num_bytes() << " bytes in a row of " << rows_[number]->memory.num_bytes());
    return view;
}

void HostRing::mark()
{
    rows_[current_]->copied.record(stream_);
    rows_[current_]->under_way = true;
}

void HostRing::wait(std::size_t number) const
{
    if (rows_[number]->under_way)
        rows_[number]->copied.wait();
}

TokenUpload::TokenUpload(const Stream& stream, std::int64_t num_tokens)
    : stream_(stream), ring_(stream, static_cast<std::size_t>(num_tokens) * size_of(DType::i32))
{
}

void TokenUpload::send(const TensorView& row, const TensorView& to)
{
    copy(stream_, row, to);
    ring_.mark();
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
