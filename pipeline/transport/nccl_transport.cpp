// Messages between chunks on GPUs of their own, by NCCL; everything else passes through to a
// transport of host memory.
//
// Each edge of the pipeline has a communicator of two ranks for each direction, made at the start
// in one order on all ranks, and a stream of high priority at either end. On a communicator the
// k-th receive gets the k-th send: the schedule's checker and edge_channels() have proved that the
// program keeps to that. The host only queues: wait() makes the computing stream wait.

#include "core/error.hpp"
#include "pipeline/transport/nccl_connection.hpp"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <map>
#include <memory>
#include <utility>
#include <vector>

namespace sluice {

namespace {

/// This rank's end of a communicator of two.
struct ChannelEnd {
    NcclConnection connection;
    int peer = 0; ///< within the communicator
};

std::string name_of(const EdgeChannel& channel)
{
    return fmt::format("{} for chunk{} {}, rank {} to rank {}",
                       channel.gradient ? "gradients" : "activations",
                       channel.to_chunks.size() > 1 ? "s" : "", fmt::join(channel.to_chunks, ", "),
                       channel.from_rank, channel.to_rank);
}

/// Every second edge of the pipeline, then the others, then those around from the last rank to the
/// first: edges that share no rank connect side by side, and the start of a long pipeline takes no
/// longer than that of a short one.
std::vector<EdgeChannel> in_order_of_connecting(std::vector<EdgeChannel> channels)
{
    const auto turn = [](const EdgeChannel& channel) {
        const auto [lower, upper] = std::minmax(channel.from_rank, channel.to_rank);
        return upper - lower == 1 ? lower % 2 : 2;
    };
    std::ranges::stable_sort(channels, {}, turn);
    return channels;
}

class NcclTransport final : public TransportOverNccl {
public:
    NcclTransport(Transport& host, std::shared_ptr<StreamWaits> waits,
                  const std::vector<EdgeChannel>& channels)
        : TransportOverNccl(host, std::move(waits))
    {
        connect(in_order_of_connecting(channels));
    }

    MessageId send(const TensorView& tensor, int to_rank, MessageLabel label) override
    {
        ChannelEnd* const end = end_of(tensor, label);
        if (end == nullptr)
            return host().send(tensor, to_rank, label);
        follow_compute(end->connection);
        end->connection.send(tensor.data, tensor.num_bytes(), end->peer);
        return queued(*end, {.kind = WaitKind::sending, .partner = world_rank_of(to_rank)});
    }

    MessageId receive(const TensorView& tensor, int from_rank, MessageLabel label) override
    {
        ChannelEnd* const end = end_of(tensor, label);
        if (end == nullptr)
            return host().receive(tensor, from_rank, label);
        follow_compute(end->connection);
        end->connection.receive(tensor.data, tensor.num_bytes(), end->peer);
        return queued(*end, {.kind = WaitKind::receiving, .partner = world_rank_of(from_rank)});
    }

private:
    using Key = std::pair<std::int32_t, bool>; ///< receiving chunk; whether a gradient

    /// Collective. All ranks go through the channels in the same order, so that no two wait for one
    /// another for ever. NCCL connects two ranks in their first message, and its call then blocks
    /// the host until the other one comes: so each channel carries a byte now, in that same order.
    void connect(const std::vector<EdgeChannel>& channels)
    {
        std::string mine;
        for (const EdgeChannel& channel : channels) {
            ncclUniqueId id{};
            if (channel.from_rank == rank())
                check_nccl(NcclLibrary::loaded().get_unique_id(&id), "connecting GPUs");
            mine.append(id.internal, sizeof id.internal);
        }
        const std::vector<std::string> of_rank = gather_text(mine); // any bytes will do
        // One each: their streams are in no order.
        greetings_.reset(new DeviceMemory(channels.size()));
        std::vector<MessageId> said;
        for (std::size_t i = 0; i < channels.size(); ++i) {
            const EdgeChannel& channel = channels[i];
            if (channel.from_rank != rank() && channel.to_rank != rank())
                continue;
            ncclUniqueId id{};
            of_rank[static_cast<std::size_t>(channel.from_rank)].copy(
                id.internal, sizeof id.internal, i * sizeof id.internal);
            const int place = channel.from_rank == rank() ? 0 : 1;
            const RankWait whom{
                .kind = place == 0 ? WaitKind::sending : WaitKind::receiving,
                .partner = world_rank_of(place == 0 ? channel.to_rank : channel.from_rank)};
            const WaitingFor connecting(activity(), whom);
            const auto& end = ends_.emplace_back(new ChannelEnd{
                {compute_.device, id, 2, place, most_ctas_of_an_edge, name_of(channel)},
                1 - place});
            for (const std::int32_t chunk : channel.to_chunks)
                end_for_[{chunk, channel.gradient}] = end.get();
            void* const byte = static_cast<std::byte*>(greetings_->data()) + i;
            if (place == 0)
                end->connection.send(byte, 1, end->peer);
            else
                end->connection.receive(byte, 1, end->peer);
            said.push_back(queued(*end, whom));
        }
        await_greetings(said);
    }

    /// Null for what does not go by NCCL.
    ChannelEnd* end_of(const TensorView& tensor, const MessageLabel& label)
    {
        if (tensor.device.kind != DeviceKind::cuda || label.called != nullptr)
            return nullptr;
        const auto found = end_for_.find({label.chunk, label.gradient});
        SLUICE_CHECK(found != end_for_.end(), "no way by NCCL to chunk " << label.chunk);
        return found->second;
    }

    void check_connections() const override
    {
        for (const auto& end : ends_)
            end->connection.check_state();
    }

    MessageId queued(const ChannelEnd& end, const RankWait& whom)
    {
        const std::size_t index = messages_.add();
        messages_[index].done->record(end.connection.stream());
        messages_[index].whom = whom;
        return messages_.id_of(index);
    }

    std::unique_ptr<DeviceMemory, UnlessFailing> greetings_;
    std::vector<std::unique_ptr<ChannelEnd, UnlessFailing>> ends_;
    std::map<Key, ChannelEnd*> end_for_;
};

} // namespace

std::unique_ptr<Transport> make_nccl_transport(Transport& host, std::shared_ptr<StreamWaits> waits,
                                               const std::vector<EdgeChannel>& channels)
{
    return std::make_unique<NcclTransport>(host, std::move(waits), channels);
}

} // namespace sluice
