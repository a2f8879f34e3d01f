#include "core/host_ring.hpp"

#include "core/compute_stream.hpp"
#include "core/cuda/gpu_stream.hpp"
#include "core/cuda/memory.hpp"
#include "core/wait_attendant.hpp"

#include <exception>

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

HostRing::~HostRing()
{
    // CUDA may wait for the whole GPU when it unlocks memory: not beside a message that failed.
    const bool failing = std::uncaught_exceptions() > 0;
    for (const auto& row : rows_)
        if (failing || (row->under_way && !may_free_behind(row->copied, stream_)))
            row->memory.leave();
}

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

void HostRing::send(const TensorView& filled, const TensorView& to)
{
    copy(stream_, filled, to);
    mark();
}

void HostRing::wait(std::size_t number) const
{
    if (rows_[number]->under_way)
        wait_for(rows_[number]->copied, stream_);
}

} // namespace sluice
