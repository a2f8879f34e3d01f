// Messages between chunks on GPUs of their own, by NCCL; everything else passes through to a
// transport of host memory.
//
// Each edge of the pipeline has a communicator of two ranks for each direction, made at the start
// in one order on all ranks, and a stream of high priority at either end. On a communicator the
// k-th receive gets the k-th send: the schedule's checker has proved that the program keeps to
// that. The host only queues: wait() makes the computing stream wait.

#include "core/cuda/gpu_stream.hpp"
#include "core/error.hpp"
#include "pipeline/transport/message_table.hpp"
#include "pipeline/transport/nccl_library.hpp"
#include "pipeline/transport/transport_over.hpp"

#include <exception>
#include <map>
#include <utility>

namespace sluice {

namespace {

constexpr MessageId nccl_mark = MessageId{1} << 61;

void check_nccl(ncclResult_t result, const std::string& what)
{
    if (result != ncclSuccess)
        throw PeerError(what + ": " + NcclLibrary::loaded().get_error_string(result));
}

/// This rank's end of a communicator of two.
struct ChannelEnd {
    ChannelEnd(Device device, std::string title)
        : stream(device, StreamPriority::high, 0), name(std::move(title))
    {
    }
    GpuStream stream;
    std::string name;
    ncclComm_t communicator = nullptr;
    int peer = 0; ///< within the communicator
};

/// Events are made with the entry of the table, and stay with it.
struct NcclMessage {
    std::unique_ptr<GpuEvent> queued = std::make_unique<GpuEvent>(); ///< on the computing stream
    std::unique_ptr<GpuEvent> done = std::make_unique<GpuEvent>();
};

class NcclTransport final : public TransportOver {
public:
    NcclTransport(Transport& host, const Stream& compute, const std::vector<EdgeChannel>& channels)
        : TransportOver(host), compute_(compute)
    {
        connect(channels);
    }

    ~NcclTransport() override
    {
        const NcclLibrary& nccl = NcclLibrary::loaded();
        const bool in_order = std::uncaught_exceptions() == 0;
        for (auto& [key, end] : ends_) {
            if (end.communicator == nullptr)
                continue;
            if (in_order)
                nccl.comm_destroy(end.communicator);
            else
                nccl.comm_abort(end.communicator); // the peer may never come
        }
    }

    MessageId send(const TensorView& tensor, int to_rank, MessageLabel label) override
    {
        if (ChannelEnd* const end = end_of(tensor, label))
            return queue(*end, "sending on ", [&] {
                return nccl().send(tensor.data, tensor.num_bytes(), ncclChar, end->peer,
                                   end->communicator, native(*end));
            });
        return host().send(tensor, to_rank, label);
    }

    MessageId receive(const TensorView& tensor, int from_rank, MessageLabel label) override
    {
        if (ChannelEnd* const end = end_of(tensor, label))
            return queue(*end, "receiving on ", [&] {
                return nccl().receive(tensor.data, tensor.num_bytes(), ncclChar, end->peer,
                                      end->communicator, native(*end));
            });
        return host().receive(tensor, from_rank, label);
    }

    void wait(MessageId id) override
    {
        if (!messages_.has(id)) {
            host().wait(id);
            return;
        }
        const std::size_t index = messages_.index_of(id);
        messages_[index].done->hold_back(compute_);
        messages_.remove(index);
    }

    bool is_done(MessageId id) override
    {
        return messages_.has(id) ? messages_[messages_.index_of(id)].done->reached()
                                 : host().is_done(id);
    }

    void progress() override
    {
        host().progress();
        for (auto& [key, end] : ends_) {
            ncclResult_t state = ncclSuccess;
            check_nccl(nccl().comm_get_async_error(end.communicator, &state), end.name);
            if (state != ncclInProgress)
                check_nccl(state, end.name);
        }
    }

private:
    using Key = std::pair<std::int32_t, bool>; ///< receiving chunk; whether a gradient

    static const NcclLibrary& nccl() { return NcclLibrary::loaded(); }
    static cudaStream_t native(const ChannelEnd& end)
    {
        return static_cast<cudaStream_t>(end.stream.native());
    }

    /// Collective. All ranks go through the channels in the same order, so that no two wait for one
    /// another.
    void connect(const std::vector<EdgeChannel>& channels)
    {
        std::string mine;
        for (const EdgeChannel& channel : channels) {
            ncclUniqueId id{};
            if (channel.from_rank == rank())
                check_nccl(nccl().get_unique_id(&id), "connecting GPUs");
            mine.append(id.internal, sizeof id.internal);
        }
        const std::vector<std::string> of_rank = gather_text(mine); // any bytes will do
        for (std::size_t i = 0; i < channels.size(); ++i) {
            const EdgeChannel& channel = channels[i];
            if (channel.from_rank != rank() && channel.to_rank != rank())
                continue;
            ncclUniqueId id{};
            of_rank[static_cast<std::size_t>(channel.from_rank)].copy(
                id.internal, sizeof id.internal, i * sizeof id.internal);
            const int place = channel.from_rank == rank() ? 0 : 1;
            const std::string name = std::string(channel.gradient ? "gradients" : "activations") +
                                     " for chunk " + std::to_string(channel.to_chunk) + ", rank " +
                                     std::to_string(channel.from_rank) + " to rank " +
                                     std::to_string(channel.to_rank);
            ChannelEnd& end =
                ends_.try_emplace({channel.to_chunk, channel.gradient}, compute_.device, name)
                    .first->second;
            end.peer = 1 - place;
            check_nccl(nccl().comm_init_rank(&end.communicator, 2, id, place),
                       "connecting for " + name);
        }
    }

    /// Null for what does not go by NCCL.
    ChannelEnd* end_of(const TensorView& tensor, const MessageLabel& label)
    {
        if (tensor.device.kind != DeviceKind::cuda || label.called != nullptr)
            return nullptr;
        const auto found = ends_.find({label.chunk, label.gradient});
        return found == ends_.end() ? nullptr : &found->second;
    }

    /// `call`: queues the message on the channel's stream.
    template <class Call>
    MessageId queue(ChannelEnd& end, const char* doing, const Call& call)
    {
        const std::size_t index = messages_.add();
        NcclMessage& message = messages_[index];
        message.queued->record(compute_);
        message.queued->hold_back(end.stream.stream());
        check_nccl(call(), doing + end.name);
        message.done->record(end.stream.stream());
        return messages_.id_of(index);
    }

    Stream compute_;
    std::map<Key, ChannelEnd> ends_;
    MessageTable<NcclMessage> messages_{nccl_mark};
};

} // namespace

bool nccl_is_compiled_in() { return true; }

std::unique_ptr<Transport> make_nccl_transport(Transport& host, const Stream& compute,
                                               const std::vector<EdgeChannel>& channels)
{
    return std::make_unique<NcclTransport>(host, compute, channels);
}

} // namespace sluice
