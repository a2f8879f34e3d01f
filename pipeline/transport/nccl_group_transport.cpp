// Messages in groups between GPUs of their own, by NCCL; everything else passes through to a
// transport of host memory.
//
// All ranks share one communicator, with one stream. A group is queued whole, as NCCL's own group:
// no message in it can hold up another, so the ranks need not agree on an order within it, and as
// all queue the same groups in the same order, no two groups wait for one another either.

#include "core/error.hpp"
#include "pipeline/transport/nccl_connection.hpp"

#include <utility>
#include <vector>

namespace sluice {

namespace {

class NcclGroupTransport final : public TransportOverNccl {
public:
    NcclGroupTransport(Transport& host, std::shared_ptr<StreamWaits> waits)
        : TransportOverNccl(host, std::move(waits))
    {
        group_ = {.first = world_rank_of(0),
                  .stride = num_ranks() > 1 ? world_rank_of(1) - world_rank_of(0) : 1,
                  .count = num_ranks(),
                  .communicator = groups_communicator};
        ncclUniqueId id{};
        if (rank() == 0)
            check_nccl(NcclLibrary::loaded().get_unique_id(&id), "connecting GPUs");
        broadcast(std::as_writable_bytes(std::span(id.internal)), 0);
        {
            const InCollective connecting(activity(), group_);
            connection_.reset(new NcclConnection(
                compute_.device, id, num_ranks(), rank(), most_ctas_of_an_exchange,
                "exchanges between the " + std::to_string(num_ranks()) +
                    " replicas' ranks like rank " + std::to_string(world_rank())));
        }
        greet();
    }

    void begin_group() override
    {
        SLUICE_CHECK(!in_group_, "a group of messages inside another");
        in_group_ = true;
        ++group_.number;
    }

    void end_group() override
    {
        SLUICE_CHECK(in_group_, "no group of messages has begun");
        in_group_ = false;
        if (asked_.empty())
            return;
        const NcclLibrary& nccl = NcclLibrary::loaded();
        follow_compute(*connection_);
        check_nccl(nccl.group_start(), "messages " + connection_->name());
        for (const Asked& one : asked_)
            if (one.receiving)
                connection_->receive(one.tensor.data, one.tensor.num_bytes(), one.peer);
            else
                connection_->send(one.tensor.data, one.tensor.num_bytes(), one.peer);
        check_nccl(nccl.group_end(), "messages " + connection_->name());
        for (const Asked& one : asked_) {
            messages_[one.index].done->record(connection_->stream());
            messages_[one.index].whom = {.kind = WaitKind::collective, .collective = group_};
        }
        asked_.clear();
    }

    MessageId send(const TensorView& tensor, int to_rank, MessageLabel label) override
    {
        return goes_by_nccl(tensor) ? ask(tensor, to_rank, false)
                                    : host().send(tensor, to_rank, label);
    }
    MessageId receive(const TensorView& tensor, int from_rank, MessageLabel label) override
    {
        return goes_by_nccl(tensor) ? ask(tensor, from_rank, true)
                                    : host().receive(tensor, from_rank, label);
    }

    void wait(MessageId id) override
    {
        SLUICE_CHECK(!in_group_, "waiting for a message before its group has ended");
        TransportOverNccl::wait(id);
    }
    bool is_done(MessageId id) override
    {
        SLUICE_CHECK(!in_group_, "waiting for a message before its group has ended");
        return TransportOverNccl::is_done(id);
    }

private:
    /// To those who watch (CollectiveCall): no communicator of MPI has this number.
    static constexpr std::uint32_t groups_communicator = 0xffffffff;

    void check_connections() const override
    {
        if (connection_) // not while connecting
            connection_->check_state();
    }

    struct Asked {
        TensorView tensor;
        int peer = -1;
        bool receiving = false;
        std::size_t index = 0; ///< in messages_
    };

    bool goes_by_nccl(const TensorView& tensor) const
    {
        return in_group_ && tensor.device.kind == DeviceKind::cuda;
    }

    MessageId ask(const TensorView& tensor, int peer, bool receiving)
    {
        SLUICE_CHECK(peer >= 0 && peer < num_ranks() && peer != rank(),
                     "rank " << peer << " of " << num_ranks() << ", from rank " << rank());
        const std::size_t index = messages_.add();
        asked_.push_back({tensor, peer, receiving, index});
        return messages_.id_of(index);
    }

    /// NCCL connects two ranks in their first message, and its call then blocks the host until the
    /// other one comes: better here, where all come at once.
    void greet()
    {
        greetings_.reset(new DeviceMemory(static_cast<std::size_t>(num_ranks()) * sizeof(float)));
        const auto from_rank = [&](int of) {
            return TensorView{static_cast<std::byte*>(greetings_->data()) +
                                  static_cast<std::size_t>(of) * sizeof(float),
                              DType::f32, Shape{1}, compute_.device};
        };
        std::vector<MessageId> said;
        begin_group();
        for (int other = 0; other < num_ranks(); ++other) {
            if (other == rank())
                continue;
            said.push_back(send(from_rank(rank()), other, {}));
            said.push_back(receive(from_rank(other), other, {}));
        }
        end_group();
        await_greetings(said);
    }

    std::unique_ptr<DeviceMemory, UnlessFailing> greetings_;
    std::unique_ptr<NcclConnection, UnlessFailing> connection_;
    CollectiveCall group_; ///< the last
    bool in_group_ = false;
    std::vector<Asked> asked_; ///< in the group that has begun
};

} // namespace

std::unique_ptr<Transport> make_nccl_group_transport(Transport& host,
                                                     std::shared_ptr<StreamWaits> waits)
{
    return std::make_unique<NcclGroupTransport>(host, std::move(waits));
}

} // namespace sluice
