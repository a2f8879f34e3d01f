// Messages between chunks on GPUs of their own, by NCCL; everything else passes through to a
// transport of host memory.
//
// Each edge of the pipeline has a communicator of two ranks for each direction, made at the start
// in one order on all ranks, and a stream of high priority at either end. On a communicator the
// k-th receive gets the k-th send: the schedule's checker has proved that the program keeps to
// that. The host only queues: wait() makes the computing stream wait.

#include "core/cuda/gpu_stream.hpp"
#include "core/error.hpp"
#include "pipeline/transport/nccl_library.hpp"
#include "pipeline/transport/transport.hpp"

#include <cstdlib>
#include <cstring>
#include <deque>
#include <exception>
#include <map>
#include <utility>

namespace sluice {

namespace {

/// Sets these ids apart from those of a transport of host memory.
constexpr MessageId nccl_bit = MessageId{1} << 61;

void check_nccl(ncclResult_t result, const std::string& what)
{
    if (result != ncclSuccess)
        throw PeerError(what + ": " + NcclLibrary::loaded().get_error_string(result));
}

std::string text_of(const ncclUniqueId& id)
{
    std::string text;
    for (const char byte : id.internal)
        for (const int shift : {4, 0})
            text += "0123456789abcdef"[(byte >> shift) & 15];
    return text;
}

ncclUniqueId id_from(std::string_view text)
{
    ncclUniqueId id{};
    SLUICE_CHECK(text.size() == 2 * sizeof(id.internal), text.size() << " digits");
    const auto digit = [](char c) { return c <= '9' ? c - '0' : c - 'a' + 10; };
    for (std::size_t i = 0; i < sizeof(id.internal); ++i)
        id.internal[i] = static_cast<char>(digit(text[2 * i]) << 4 | digit(text[2 * i + 1]));
    return id;
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

struct NcclMessage {
    GpuEvent queued; ///< on the computing stream, what came before
    GpuEvent done;
    bool active = false;
    std::int32_t use = 0;
};

class NcclTransport final : public Transport {
public:
    NcclTransport(Transport& host, const Stream& compute, const std::vector<EdgeChannel>& channels)
        : host_(host), compute_(compute)
    {
        publish_into(host_.activity());
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

    int rank() const override { return host_.rank(); }
    int num_ranks() const override { return host_.num_ranks(); }
    int world_rank() const override { return host_.world_rank(); }
    std::unique_ptr<Transport> split(int color, int key) override
    {
        return host_.split(color, key);
    }

    MessageId send(const TensorView& tensor, int to_rank, MessageLabel label) override
    {
        ChannelEnd* const end = end_of(tensor, label);
        if (end == nullptr)
            return host_.send(tensor, to_rank, label);
        const std::size_t index = begin(*end);
        check_nccl(nccl().send(tensor.data, tensor.num_bytes(), ncclChar, end->peer,
                               end->communicator, native(*end)),
                   "sending on " + end->name);
        return started(index, *end);
    }

    MessageId receive(const TensorView& tensor, int from_rank, MessageLabel label) override
    {
        ChannelEnd* const end = end_of(tensor, label);
        if (end == nullptr)
            return host_.receive(tensor, from_rank, label);
        const std::size_t index = begin(*end);
        check_nccl(nccl().receive(tensor.data, tensor.num_bytes(), ncclChar, end->peer,
                                  end->communicator, native(*end)),
                   "receiving on " + end->name);
        return started(index, *end);
    }

    void wait(MessageId id) override
    {
        if ((id & nccl_bit) == 0) {
            host_.wait(id);
            return;
        }
        NcclMessage& message = message_of(id);
        message.done.hold_back(compute_);
        message.active = false;
        free_.push_back(index_of(id));
    }

    bool is_done(MessageId id) override
    {
        return (id & nccl_bit) == 0 ? host_.is_done(id) : message_of(id).done.reached();
    }

    void progress() override
    {
        host_.progress();
        for (auto& [key, end] : ends_) {
            ncclResult_t state = ncclSuccess;
            check_nccl(nccl().comm_get_async_error(end.communicator, &state), end.name);
            if (state != ncclInProgress)
                check_nccl(state, end.name);
        }
    }

    void sum(std::span<double> values) override { host_.sum(values); }
    void max(std::span<double> values) override { host_.max(values); }
    void broadcast(std::span<std::byte> bytes, int root) override { host_.broadcast(bytes, root); }
    std::vector<std::string> gather_text(const std::string& text) override
    {
        return host_.gather_text(text);
    }
    void barrier() override { host_.barrier(); }

    [[noreturn]] void abort(int exit_code) override
    {
        host_.abort(exit_code);
        std::abort(); // never reached; not every compiler knows that of a virtual function
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
            mine += text_of(id);
        }
        const std::vector<std::string> of_rank = host_.gather_text(mine);
        constexpr std::size_t digits = 2 * sizeof(ncclUniqueId::internal);
        for (std::size_t i = 0; i < channels.size(); ++i) {
            const EdgeChannel& channel = channels[i];
            if (channel.from_rank != rank() && channel.to_rank != rank())
                continue;
            const std::string& ids = of_rank[static_cast<std::size_t>(channel.from_rank)];
            const int place = channel.from_rank == rank() ? 0 : 1;
            const std::string name = std::string(channel.gradient ? "gradients" : "activations") +
                                     " for chunk " + std::to_string(channel.to_chunk) + ", rank " +
                                     std::to_string(channel.from_rank) + " to rank " +
                                     std::to_string(channel.to_rank);
            ChannelEnd& end =
                ends_.try_emplace({channel.to_chunk, channel.gradient}, compute_.device, name)
                    .first->second;
            end.peer = 1 - place;
            check_nccl(nccl().comm_init_rank(
                           &end.communicator, 2,
                           id_from(std::string_view(ids).substr(digits * i, digits)), place),
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

    std::size_t begin(ChannelEnd& end)
    {
        if (free_.empty()) {
            messages_.emplace_back();
            free_.push_back(messages_.size() - 1);
        }
        const std::size_t index = free_.back();
        free_.pop_back();
        NcclMessage& message = messages_[index];
        message.active = true;
        message.use = (message.use + 1) & 0x0fffffff;
        message.queued.record(compute_);
        message.queued.hold_back(end.stream.stream());
        return index;
    }

    MessageId started(std::size_t index, const ChannelEnd& end)
    {
        NcclMessage& message = messages_[index];
        message.done.record(end.stream.stream());
        return nccl_bit | (MessageId{message.use} << 32) | static_cast<MessageId>(index + 1);
    }

    static std::size_t index_of(MessageId id)
    {
        return static_cast<std::size_t>((id & 0xffffffff) - 1);
    }

    NcclMessage& message_of(MessageId id)
    {
        const std::size_t index = index_of(id);
        SLUICE_CHECK(index < messages_.size() && messages_[index].active &&
                         messages_[index].use == ((id & ~nccl_bit) >> 32),
                     "message " << id << " is not under way");
        return messages_[index];
    }

    Transport& host_;
    Stream compute_;
    std::map<Key, ChannelEnd> ends_;
    std::deque<NcclMessage> messages_;
    std::vector<std::size_t> free_; ///< entries of messages_ not in use
};

} // namespace

bool nccl_is_compiled_in() { return true; }

std::unique_ptr<Transport> make_nccl_transport(Transport& host, const Stream& compute,
                                               const std::vector<EdgeChannel>& channels)
{
    return std::make_unique<NcclTransport>(host, compute, channels);
}

} // namespace sluice
