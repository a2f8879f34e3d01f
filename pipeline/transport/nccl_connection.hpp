// What the transports over NCCL have in common: this rank's end of a communicator, and messages
// that are queued on its stream.
#pragma once

#include "core/cuda/gpu_stream.hpp"
#include "core/cuda/memory.hpp"
#include "pipeline/transport/message_table.hpp"
#include "pipeline/transport/nccl_library.hpp"
#include "pipeline/transport/nccl_requirements.hpp"
#include "pipeline/transport/stream_waits.hpp"
#include "pipeline/transport/transport_over.hpp"

#include <exception>
#include <memory>
#include <span>
#include <string>

namespace sluice {

/// Throws PeerError, with `what` was being done and all that NCCL has to say.
void check_nccl(ncclResult_t result, const std::string& what);

/// Deletes, but leaves everything as it is while an exception is on its way: the process must end
/// soon then. Messages under way may never come, and what would wait for them: giving memory back,
/// and an end of their communicator, even by ncclCommAbort, which ends with that of all its ranks
/// and may wait for the kernels of other communicators.
struct UnlessFailing {
    template <class Owned>
    void operator()(Owned* owned) const
    {
        if (std::uncaught_exceptions() == 0)
            delete owned;
    }
};

/// A communicator and a stream of high priority for its messages.
class NcclConnection {
public:
    /// Collective over the ranks of the communicator, which all give the same `id` and `max_ctas`.
    /// `name` is for error messages.
    NcclConnection(Device device, const ncclUniqueId& id, int num_ranks, int place, int max_ctas,
                   std::string name);
    /// Waits for its messages and its peers: whoever owns one has it deleted UnlessFailing.
    ~NcclConnection();
    NcclConnection(const NcclConnection&) = delete;
    NcclConnection& operator=(const NcclConnection&) = delete;

    const std::string& name() const { return name_; }
    Stream stream() const { return stream_.stream(); }

    void send(const void* data, std::size_t num_bytes, int to);
    void receive(void* data, std::size_t num_bytes, int from);
    /// Throws PeerError when something went wrong beside the calls.
    void check_state() const;

private:
    cudaStream_t native() const { return static_cast<cudaStream_t>(stream_.native()); }

    GpuStream stream_;
    std::string name_;
    ncclComm_t communicator_ = nullptr;
};

/// An event is made with the entry of the table, and stays with it.
struct NcclMessage {
    std::unique_ptr<GpuEvent> done = std::make_unique<GpuEvent>();
    RankWait whom; ///< brings it about
};

/// Waiting for a message orders the computing stream, and never the host.
class TransportOverNccl : public TransportOver {
public:
    TransportOverNccl(Transport& host, std::shared_ptr<StreamWaits> waits);
    ~TransportOverNccl() override;

    void wait(MessageId id) override;
    bool is_done(MessageId id) override;
    void progress() final;

protected:
    /// Throws PeerError when something went wrong beside the calls.
    virtual void check_connections() const = 0;
    /// The last step of connecting, while which peers may never come or their network fail: blocks
    /// until the messages are done, as any wait for the computing stream does, which finds errors
    /// of NCCL and publishes whom it waits for.
    void await_greetings(std::span<const MessageId> ids);
    /// Makes messages on `connection` wait for what the computing stream has queued so far.
    void follow_compute(const NcclConnection& connection);

    Stream compute_;
    MessageTable<NcclMessage> messages_;

private:
    std::shared_ptr<StreamWaits> waits_; ///< those of compute_
    GpuEvent computed_;
};

} // namespace sluice
