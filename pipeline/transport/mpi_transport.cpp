// CPU memory between ranks over MPI, and GPUs' memory where MPI takes it.
//
// Messages and collectives each have a communicator of their own, so that neither can match the
// other's traffic. A message's tag is its label (message_tags.hpp).
// Errors come back as codes and become PeerError: a rank that can still speak says whom it was
// talking to and about what.

#include "core/error.hpp"
#include "pipeline/transport/message_table.hpp"
#include "pipeline/transport/message_tags.hpp"
#include "pipeline/transport/mpi_message_type.hpp"
#include "pipeline/transport/mpi_session.hpp"
#include "pipeline/transport/mpi_yield.hpp"
#include "pipeline/transport/transport.hpp"

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <numeric>

namespace sluice {

namespace {

/// A started send or receive.
struct Pending {
    MPI_Request request = MPI_REQUEST_NULL;
    std::int64_t num_bytes = 0;
    MessageLabel label;
    int peer = -1;
    bool receiving = false;
};

class MpiTransport final : public Transport {
public:
    /// Takes `messages`, a communicator of its own. The group of all ranks keeps the session.
    explicit MpiTransport(MPI_Comm messages, std::unique_ptr<MpiSession> session = nullptr,
                          std::uint32_t number = 1)
        : session_(std::move(session)), messages_(messages), number_(number)
    {
        check_mpi(MPI_Comm_dup(messages_, &collectives_), "MPI_Comm_dup");
        for (const MPI_Comm communicator : {messages_, collectives_})
            MPI_Comm_set_errhandler(communicator, MPI_ERRORS_RETURN);
        MPI_Comm_rank(messages_, &rank_);
        MPI_Comm_size(messages_, &num_ranks_);
        int world_rank = 0;
        MPI_Comm_rank(MPI_COMM_WORLD, &world_rank);
        world_ranks_.resize(static_cast<std::size_t>(num_ranks_));
        check_mpi(
            MPI_Allgather(&world_rank, 1, MPI_INT, world_ranks_.data(), 1, MPI_INT, collectives_),
            "MPI_Allgather");
        collective_ = {.first = world_ranks_.front(),
                       .stride = num_ranks_ > 1 ? world_ranks_[1] - world_ranks_[0] : 1,
                       .count = num_ranks_,
                       .communicator = number_};
        int patient =
            ranks_share_cores() ? 1 : 0; // nodes may differ; what all call together must not
        check_mpi(MPI_Allreduce(MPI_IN_PLACE, &patient, 1, MPI_INT, MPI_MAX, collectives_),
                  "MPI_Allreduce");
        patient_ = patient != 0;
        tags_ = MessageTags(num_tags());
        pending_.reserve(expected_messages);
    }

    ~MpiTransport() override
    {
        const bool under_way = !pending_.empty();
        if (under_way && std::uncaught_exceptions() > 0) {
            if (session_)
                session_->abandon();
            return;
        }
        if (under_way) {
            std::fprintf(stderr, "sluice: rank %d ends with messages under way\n", world_rank());
            MPI_Abort(MPI_COMM_WORLD, static_cast<int>(ExitCode::invariant));
        }
        MPI_Comm_free(&messages_);
        MPI_Comm_free(&collectives_);
    }

    int rank() const override { return rank_; }
    int num_ranks() const override { return num_ranks_; }
    int world_rank_of(int rank) const override
    {
        return world_ranks_[static_cast<std::size_t>(rank)];
    }

    std::unique_ptr<Transport> split(int color, int key) override
    {
        MPI_Comm group = MPI_COMM_NULL;
        check_collective([&] { return MPI_Comm_split(collectives_, color, key, &group); },
                         "MPI_Comm_split");
        // Every rank splits the same communicators in the same order, so the numbers agree.
        auto transport =
            std::make_unique<MpiTransport>(group, nullptr, 16 * number_ + ++num_splits_);
        transport->publish_into(activity());
        return transport;
    }

    MessageId send(const TensorView& tensor, int to_rank, MessageLabel label) override
    {
        const int tag = tags_.tag_of(label);
        const std::size_t index = begin(tensor, to_rank, label, false);
        Pending& one = pending_[index];
        MpiMessageType bytes = mpi_message_type(one.num_bytes);
        const int code =
            MPI_Isend(tensor.data, bytes.count, bytes.type, to_rank, tag, messages_, &one.request);
        return started(index, code, bytes);
    }

    MessageId receive(const TensorView& tensor, int from_rank, MessageLabel label) override
    {
        const int tag = tags_.tag_of(label);
        const std::size_t index = begin(tensor, from_rank, label, true);
        Pending& one = pending_[index];
        MpiMessageType bytes = mpi_message_type(one.num_bytes);
        const int code = MPI_Irecv(tensor.data, bytes.count, bytes.type, from_rank, tag, messages_,
                                   &one.request);
        return started(index, code, bytes);
    }

    void wait(MessageId id) override
    {
        if (id == 0)
            return;
        const std::size_t index = pending_.index_of(id);
        Pending& one = pending_[index];
        if (activity() != nullptr)
            activity()->wait_for(one.receiving ? WaitKind::receiving : WaitKind::sending,
                                 world_ranks_[static_cast<std::size_t>(one.peer)]);
        MPI_Status status;
        const int code =
            patient_ ? wait_patiently(one.request, status) : MPI_Wait(&one.request, &status);
        if (activity() != nullptr)
            activity()->go_on();
        pending_.remove(index);
        if (code != MPI_SUCCESS)
            fail(one, mpi_error_text(code));
        if (!one.receiving)
            return;
        MPI_Count received = 0;
        MPI_Get_elements_x(&status, MPI_BYTE, &received);
        if (received != one.num_bytes)
            fail(one, std::to_string(received) + " bytes came where " +
                          std::to_string(one.num_bytes) + " were expected");
    }

    bool is_done(MessageId id) override
    {
        if (id == 0)
            return true;
        const Pending& one = pending_[pending_.index_of(id)];
        int complete = 0;
        const int code = MPI_Request_get_status(one.request, &complete, MPI_STATUS_IGNORE);
        if (code != MPI_SUCCESS)
            fail(one, mpi_error_text(code));
        return complete != 0;
    }

    void progress() override
    {
        // Asking after any one request lets the library work on all of them.
        for (std::size_t i = 0; i < pending_.size(); ++i) {
            next_asked_ = next_asked_ + 1 < pending_.size() ? next_asked_ + 1 : 0;
            if (!pending_.is_active(next_asked_))
                continue;
            const Pending& one = pending_[next_asked_];
            int complete = 0;
            const int code = MPI_Request_get_status(one.request, &complete, MPI_STATUS_IGNORE);
            if (code != MPI_SUCCESS)
                fail(one, mpi_error_text(code));
            return;
        }
        // Others may need this one for messages of theirs that have no end here, while it waits for
        // its GPU (NCCL's user guide, "MPI Progress").
        int there = 0;
        const int code =
            MPI_Iprobe(MPI_ANY_SOURCE, MPI_ANY_TAG, messages_, &there, MPI_STATUS_IGNORE);
        if (code != MPI_SUCCESS)
            throw PeerError("looking for messages: " + mpi_error_text(code));
    }

    void sum(std::span<double> values) override { reduce(values, MPI_SUM, "a sum"); }
    void max(std::span<double> values) override { reduce(values, MPI_MAX, "a maximum"); }

    void broadcast(std::span<std::byte> bytes, int root) override
    {
        SLUICE_CHECK(root >= 0 && root < num_ranks_, "root " << root << " of " << num_ranks_);
        for (std::size_t begin = 0; begin < bytes.size(); begin += largest_piece) {
            const auto piece = bytes.subspan(begin, std::min(largest_piece, bytes.size() - begin));
            check_collective(
                [&] {
                    return MPI_Bcast(piece.data(), static_cast<int>(piece.size()), MPI_BYTE, root,
                                     collectives_);
                },
                "a broadcast");
        }
    }

    std::vector<std::string> gather_text(const std::string& text) override
    {
        const auto ranks = static_cast<std::size_t>(num_ranks_);
        std::vector<std::int64_t> lengths(ranks);
        const auto length = static_cast<std::int64_t>(text.size());
        check_collective(
            [&] {
                return MPI_Allgather(&length, 1, MPI_INT64_T, lengths.data(), 1, MPI_INT64_T,
                                     collectives_);
            },
            "gathering text");
        const auto total = std::accumulate(lengths.begin(), lengths.end(), std::int64_t{0});
        SLUICE_CHECK(total <= 0x7fffffff, total << " bytes of text");
        std::vector<int> counts(lengths.begin(), lengths.end()), offsets(ranks, 0);
        std::partial_sum(counts.begin(), counts.end() - 1, offsets.begin() + 1);
        std::string all(static_cast<std::size_t>(total), '\0');
        check_collective(
            [&] {
                return MPI_Allgatherv(text.data(), static_cast<int>(text.size()), MPI_CHAR,
                                      all.data(), counts.data(), offsets.data(), MPI_CHAR,
                                      collectives_);
            },
            "gathering text");
        std::vector<std::string> texts;
        for (std::size_t i = 0; i < ranks; ++i)
            texts.push_back(all.substr(static_cast<std::size_t>(offsets[i]),
                                       static_cast<std::size_t>(counts[i])));
        return texts;
    }

    void barrier() override
    {
        check_collective([&] { return MPI_Barrier(collectives_); }, "a barrier");
    }

    [[noreturn]] void abort(int exit_code) override
    {
        std::fflush(nullptr);
        MPI_Abort(MPI_COMM_WORLD, exit_code);
        std::_Exit(exit_code); // MPI_Abort may return where the launcher is gone
    }

private:
    static constexpr std::size_t expected_messages = 1024;
    static constexpr std::size_t largest_piece = std::size_t{1} << 30; ///< counts are ints

    /// As many as MPI allows; 32768 is what every one must.
    std::int64_t num_tags() const
    {
        int* largest_tag = nullptr;
        int found = 0;
        MPI_Comm_get_attr(messages_, MPI_TAG_UB, &largest_tag, &found);
        return found ? std::int64_t{*largest_tag} + 1 : 32768;
    }

    std::size_t begin(const TensorView& tensor, int peer, MessageLabel label, bool receiving)
    {
        SLUICE_CHECK(peer >= 0 && peer < num_ranks_, "rank " << peer << " of " << num_ranks_);
        SLUICE_CHECK(tensor.device.kind == DeviceKind::cpu || takes_gpu_memory_,
                     name_of(label) << " is not in CPU memory");
        const std::size_t index = pending_.add();
        Pending& one = pending_[index];
        one.num_bytes = static_cast<std::int64_t>(tensor.num_bytes());
        one.label = label;
        one.peer = peer;
        one.receiving = receiving;
        return index;
    }

    MessageId started(std::size_t index, int code, MpiMessageType& bytes)
    {
        Pending& one = pending_[index];
        if (bytes.owned)
            MPI_Type_free(&bytes.type);
        if (code != MPI_SUCCESS) {
            pending_.remove(index);
            fail(one, mpi_error_text(code));
        }
        return pending_.id_of(index);
    }

    [[noreturn]] void fail(const Pending& one, const std::string& why) const
    {
        throw PeerError("rank " + std::to_string(world_rank()) +
                        (one.receiving ? " receiving from rank " : " sending to rank ") +
                        std::to_string(world_ranks_[static_cast<std::size_t>(one.peer)]) + " the " +
                        name_of(one.label) + ": " + why);
    }

    template <typename Call>
    void check_collective(Call call, const char* what)
    {
        collective_.number += 1;
        const InCollective waiting(activity(), collective_);
        const int all_are_here = patient_ ? wait_for_all() : MPI_SUCCESS;
        const int code = all_are_here == MPI_SUCCESS ? call() : all_are_here;
        if (code != MPI_SUCCESS)
            throw PeerError("rank " + std::to_string(world_rank()) + " in " + what + ": " +
                            mpi_error_text(code));
    }

    /// So that nobody spins in a collective for a rank that comes late: it may be writing a save.
    int wait_for_all()
    {
        MPI_Request arrival = MPI_REQUEST_NULL;
        MPI_Status status;
        const int code = MPI_Ibarrier(collectives_, &arrival);
        return code == MPI_SUCCESS ? wait_patiently(arrival, status) : code;
    }

    void reduce(std::span<double> values, MPI_Op operation, const char* what)
    {
        for (std::size_t begin = 0; begin < values.size(); begin += largest_piece) {
            const auto piece =
                values.subspan(begin, std::min(largest_piece, values.size() - begin));
            check_collective(
                [&] {
                    return MPI_Allreduce(MPI_IN_PLACE, piece.data(), static_cast<int>(piece.size()),
                                         MPI_DOUBLE, operation, collectives_);
                },
                what);
        }
    }

    std::unique_ptr<MpiSession> session_; ///< ends behind everything else
    MPI_Comm messages_ = MPI_COMM_NULL, collectives_ = MPI_COMM_NULL;
    int rank_ = 0, num_ranks_ = 1;
    std::vector<int> world_ranks_; ///< [rank]: in MPI_COMM_WORLD
    std::uint32_t number_, num_splits_ = 0;
    CollectiveCall collective_; ///< the last
    MessageTags tags_;
    bool takes_gpu_memory_ = mpi_takes_gpu_memory();
    bool patient_ = false; ///< some rank shares its core: waits sleep
    MessageTable<Pending> pending_;
    std::size_t next_asked_ = 0;
};

MPI_Comm duplicate_of_world()
{
    MPI_Comm messages = MPI_COMM_NULL;
    check_mpi(MPI_Comm_dup(MPI_COMM_WORLD, &messages), "MPI_Comm_dup");
    return messages;
}

} // namespace

std::unique_ptr<Transport> make_mpi_transport()
{
    auto session = std::make_unique<MpiSession>();
    return std::make_unique<MpiTransport>(duplicate_of_world(), std::move(session));
}

} // namespace sluice
