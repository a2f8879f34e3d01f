// Messages of a GPU's memory over a transport of the host (gpu_lanes.hpp); everything else passes
// through to it.

#include "core/error.hpp"
#include "pipeline/transport/gpu_lanes.hpp"
#include "pipeline/transport/transport_over.hpp"

#include <exception>
#include <utility>

namespace sluice {

namespace {

class LanesTransport final : public TransportOver {
public:
    LanesTransport(Transport& host, std::unique_ptr<Transport> owned,
                   std::shared_ptr<GpuLanes> lanes)
        : TransportOver(host), owned_(std::move(owned)), lanes_(std::move(lanes))
    {
    }

    ~LanesTransport() override
    {
        if (std::uncaught_exceptions() == 0)
            lanes_->finish(host());
    }

    std::unique_ptr<Transport> split(int color, int key) override
    {
        auto group = TransportOver::split(color, key);
        Transport& host = *group;
        return std::make_unique<LanesTransport>(host, std::move(group), lanes_);
    }

    MessageId send(const TensorView& tensor, int to_rank, MessageLabel label) override
    {
        return on_gpu(tensor) ? lanes_->send(host(), tensor, to_rank, label)
                              : host().send(tensor, to_rank, label);
    }
    MessageId receive(const TensorView& tensor, int from_rank, MessageLabel label) override
    {
        return on_gpu(tensor) ? lanes_->receive(host(), tensor, from_rank, label)
                              : host().receive(tensor, from_rank, label);
    }
    void wait(MessageId message) override
    {
        if (lanes_->has(message)) {
            lanes_->wait(message);
            return;
        }
        if (message != 0)
            before_others_are_waited_for();
        host().wait(message);
    }
    bool is_done(MessageId message) override
    {
        return lanes_->has(message) ? lanes_->is_done(message) : host().is_done(message);
    }
    void progress() override
    {
        lanes_->progress();
        host().progress();
    }

private:
    static bool on_gpu(const TensorView& tensor) { return tensor.device.kind == DeviceKind::cuda; }

    void before_others_are_waited_for() override { lanes_->start_all(); }

    std::unique_ptr<Transport> owned_; ///< null when the host's is somebody else's
    std::shared_ptr<GpuLanes> lanes_;
};

} // namespace

std::unique_ptr<Transport> make_staged_transport(Transport& host, const Stream& compute,
                                                 StagingBuffers buffers)
{
    return std::make_unique<LanesTransport>(host, nullptr, make_staging_lanes(compute, buffers));
}

std::unique_ptr<Transport> make_direct_transport(Transport& host, const Stream& compute)
{
    SLUICE_CHECK(mpi_takes_gpu_memory(), "this MPI cannot read a GPU's memory");
    return std::make_unique<LanesTransport>(host, nullptr, make_direct_lanes(compute));
}

} // namespace sluice
