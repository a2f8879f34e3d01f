// Messages of a GPU's memory over a transport of host memory (staging_lanes.hpp); everything else
// passes through to it.

#include "core/error.hpp"
#include "pipeline/transport/staging_lanes.hpp"
#include "pipeline/transport/transport.hpp"

#include <exception>
#include <utility>

namespace sluice {

namespace {

class StagedTransport final : public Transport {
public:
    StagedTransport(Transport& host, std::unique_ptr<Transport> owned,
                    std::shared_ptr<StagingLanes> lanes)
        : owned_(std::move(owned)), host_(host), lanes_(std::move(lanes))
    {
        publish_into(host_.activity());
    }

    ~StagedTransport() override
    {
        if (std::uncaught_exceptions() == 0)
            lanes_->finish(host_);
    }

    int rank() const override { return host_.rank(); }
    int num_ranks() const override { return host_.num_ranks(); }
    int world_rank() const override { return host_.world_rank(); }

    std::unique_ptr<Transport> split(int color, int key) override
    {
        lanes_->start_all();
        auto group = host_.split(color, key);
        Transport& host = *group;
        return std::make_unique<StagedTransport>(host, std::move(group), lanes_);
    }

    MessageId send(const TensorView& tensor, int to_rank, MessageLabel label) override
    {
        return on_gpu(tensor) ? lanes_->send(host_, tensor, to_rank, label)
                              : host_.send(tensor, to_rank, label);
    }
    MessageId receive(const TensorView& tensor, int from_rank, MessageLabel label) override
    {
        return on_gpu(tensor) ? lanes_->receive(host_, tensor, from_rank, label)
                              : host_.receive(tensor, from_rank, label);
    }
    void wait(MessageId message) override
    {
        if (is_staged(message)) {
            lanes_->wait(message);
            return;
        }
        if (message != 0)
            lanes_->start_all();
        host_.wait(message);
    }
    bool is_done(MessageId message) override
    {
        return is_staged(message) ? lanes_->is_done(message) : host_.is_done(message);
    }
    void progress() override
    {
        lanes_->progress();
        host_.progress();
    }

    void sum(std::span<double> values) override { with_others().sum(values); }
    void max(std::span<double> values) override { with_others().max(values); }
    void broadcast(std::span<std::byte> bytes, int root) override
    {
        with_others().broadcast(bytes, root);
    }
    std::vector<std::string> gather_text(const std::string& text) override
    {
        return with_others().gather_text(text);
    }
    void barrier() override { with_others().barrier(); }

    [[noreturn]] void abort(int exit_code) override
    {
        host_.abort(exit_code);
        std::abort(); // never reached; not every compiler knows that of a virtual function
    }

private:
    static bool on_gpu(const TensorView& tensor) { return tensor.device.kind == DeviceKind::cuda; }

    /// The host's, once nobody waits for a message of this rank that was not started.
    Transport& with_others()
    {
        lanes_->start_all();
        return host_;
    }

    std::unique_ptr<Transport> owned_; ///< null when `host_` is somebody else's
    Transport& host_;
    std::shared_ptr<StagingLanes> lanes_;
};

} // namespace

std::unique_ptr<Transport> make_staged_transport(Transport& host, const Stream& compute,
                                                 StagingBuffers buffers)
{
    auto lanes = std::make_shared<StagingLanes>(compute);
    lanes->reserve(buffers.count, buffers.num_bytes);
    return std::make_unique<StagedTransport>(host, nullptr, std::move(lanes));
}

} // namespace sluice
