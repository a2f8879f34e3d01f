// Messages that MPI takes as they lie in a GPU's memory (CUDA-aware MPI).
//
// MPI knows no streams: it reads what is sent and writes what is received whenever it likes between
// start and end. So a send starts behind the work that makes its tensor, a receive behind the work
// that still reads the old one, and the end of either is the host's to wait for.

#include "core/error.hpp"
#include "pipeline/transport/gpu_lanes.hpp"

namespace sluice {

namespace {

class DirectLanes final : public GpuLanes {
public:
    using GpuLanes::GpuLanes;

    MessageId send(Transport& host, const TensorView& tensor, int to_rank,
                   MessageLabel label) override
    {
        return queue(begin(host, tensor, to_rank, label, false));
    }
    MessageId receive(Transport& host, const TensorView& tensor, int from_rank,
                      MessageLabel label) override
    {
        return queue(begin(host, tensor, from_rank, label, true));
    }

    /// What is queued on the computing stream afterwards may read and overwrite the tensor at once.
    void wait(MessageId id) override
    {
        const std::size_t index = messages_.index_of(id);
        GpuLanes::finish(messages_[index]);
        messages_.remove(index);
    }
    bool is_done(MessageId id) override
    {
        progress();
        const GpuMessage& message = messages_[messages_.index_of(id)];
        return message.started != 0 && message.host->is_done(message.started);
    }
    void finish(const Transport&) override { start_all(); }

private:
    MessageId queue(std::size_t index)
    {
        messages_[index].may_start->record(compute_);
        start_later(index);
        return messages_.id_of(index);
    }
};

} // namespace

std::shared_ptr<GpuLanes> make_direct_lanes(const Stream& compute)
{
    return std::make_shared<DirectLanes>(compute);
}

} // namespace sluice
