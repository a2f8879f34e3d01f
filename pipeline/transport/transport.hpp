// How ranks talk: activations and gradients between neighbouring chunks, and the few reductions.
//
// `in_process` serves one rank without MPI, `mpi` CPU memory between ranks, `staged` GPU memory by
// way of either, `direct` GPU memory over an MPI that takes it, `nccl` GPU memory between GPUs.
#pragma once

#include "core/tensor_view.hpp"
#include "pipeline/rank_activity.hpp"

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

namespace sluice {

/// A message that is under way. 0 stands for none; waiting for it returns at once.
using MessageId = std::int64_t;

struct MessageLabel {
    std::int32_t chunk = 0; ///< the chunk on the receiving side
    std::int32_t microbatch = 0;
    bool gradient = false;
    /// For messages of another kind, what error texts call them, numbered by `microbatch`; nullptr:
    /// an activation or gradient between chunks. Not part of what matches.
    const char* called = nullptr;
};

class Transport {
public:
    virtual ~Transport() = default;

    virtual int rank() const = 0;
    virtual int num_ranks() const = 0;
    /// This rank's number in the whole job, the one that launchers and messages for people name.
    int world_rank() const { return world_rank_of(rank()); }
    virtual int world_rank_of(int rank) const { return rank; }

    /// Collective. Ranks with the same `color` form a group of their own, numbered from 0 by `key`,
    /// whose messages and collectives match among themselves only. The group must be gone before
    /// the transport it was split from.
    virtual std::unique_ptr<Transport> split(int color, int key) = 0;

    /// Non-blocking. The memory stays untouched by the caller until wait(). Messages between the
    /// same pair match by label. A send to oneself matches a receive from oneself.
    virtual MessageId send(const TensorView& tensor, int to_rank, MessageLabel label) = 0;
    virtual MessageId receive(const TensorView& tensor, int from_rank, MessageLabel label) = 0;
    /// Sends and receives asked for between the two start together at the end, and none of them can
    /// hold up another. Nothing is waited for in between.
    virtual void begin_group() {}
    virtual void end_group() {}
    virtual void wait(MessageId message) = 0;
    /// Whether wait() would return at once; lets messages advance.
    virtual bool is_done(MessageId message) = 0;
    /// Lets messages under way advance; cheap.
    virtual void progress() = 0;
    /// Starts every message that was held back: before anything that waits for others by another
    /// way than this transport's.
    virtual void start_all() {}

    // Collective over all ranks, in the same order on each.

    /// Element-wise sum, result on every rank. Exact in any order when each element is non-zero on
    /// one rank only, which is how this program uses it wherever bits matter.
    virtual void sum(std::span<double> values) = 0;
    virtual void max(std::span<double> values) = 0;
    virtual void broadcast(std::span<std::byte> bytes, int root) = 0;
    /// Every rank's text, in rank order, on every rank.
    virtual std::vector<std::string> gather_text(const std::string& text) = 0;
    virtual void barrier() = 0;

    /// Ends the job of all ranks now. Does not return.
    [[noreturn]] virtual void abort(int exit_code) = 0;

    /// From now on says in `activity` (not owned; nullptr: nowhere) whom this rank waits for, as do
    /// groups split from here afterwards.
    void publish_into(RankActivity* activity) { activity_ = activity; }
    RankActivity* activity() const { return activity_; }

private:
    RankActivity* activity_ = nullptr;
};

/// One rank, no MPI.
std::unique_ptr<Transport> make_in_process_transport();

/// Initialises MPI (thread level funneled) on construction, finalises on destruction. When the
/// machine has fewer cores than ranks, asks MPI to yield while it waits.
std::unique_ptr<Transport> make_mpi_transport();

/// Made before training: as many as messages are under way at once.
struct StagingBuffers {
    std::size_t count = 0;
    std::size_t num_bytes = 0;
};
/// The ranks of `host`, which must outlive it, with messages of a GPU's memory carried by way of
/// locked host memory. wait() for them orders the stream `compute` and not the host: what is queued
/// there afterwards sees what was received, and may overwrite what was sent. Throws UserError
/// (usage) when the memory is not there.
std::unique_ptr<Transport> make_staged_transport(Transport& host, const Stream& compute,
                                                 StagingBuffers buffers);

/// Whether the MPI of this process says that it takes memory of GPUs (CUDA-aware). While MPI runs;
/// some libraries know it only then.
bool mpi_takes_gpu_memory();
/// The same in words, from a program that does not run MPI: "Open MPI 4.1.4, which does not take
/// GPUs' memory". Starts MPI in a child process; before the first use of a GPU.
std::string describe_mpi();
/// As make_staged_transport(), but messages are handed to MPI as they lie in the GPU's memory. The
/// host waits for them where it has to, as MPI knows no streams. Needs mpi_takes_gpu_memory().
std::unique_ptr<Transport> make_direct_transport(Transport& host, const Stream& compute);

/// One way of messages from rank to rank: activations for `to_chunks`, or gradients for them.
struct EdgeChannel {
    std::vector<std::int32_t> to_chunks;
    bool gradient = false;
    int from_rank = 0, to_rank = 0;
    bool operator==(const EdgeChannel&) const = default;
};
/// Why NCCL cannot be used in this build or on this machine; empty: it can. Loads the library
/// and has it look for a network.
std::string why_no_nccl();
/// "2.28.9"; where why_no_nccl() has nothing to say.
std::string nccl_version();
class StreamWaits; // pipeline/transport/stream_waits.hpp
/// Collective over the ranks of `host`, which must outlive it. Messages between chunks on
/// `channels` (the same list on every rank), all of which must lie in GPUs' memory, go by NCCL and
/// match in the order of the calls, not by chunk or micro-batch; all else goes by `host`. Every
/// rank must have a GPU of its own and NCCL (why_no_nccl). wait() orders the stream of `waits`,
/// which is told so, as in make_staged_transport(); all transports that order one stream have the
/// same `waits`. Throws PeerError where NCCL fails, UserError (usage) where there is none or no
/// memory: on that rank alone, while the others wait for it, so that the job must end.
std::unique_ptr<Transport> make_nccl_transport(Transport& host, std::shared_ptr<StreamWaits> waits,
                                               const std::vector<EdgeChannel>& channels);

/// Collective over the ranks of `host`, which must outlive it. Messages of GPUs' memory that are
/// asked for in groups (begin_group) go by NCCL, over one communicator of all ranks: the groups of
/// all ranks must be the same in number and order, and within a group messages between a pair match
/// in the order of the calls. All else goes by `host`. Otherwise as make_nccl_transport().
std::unique_ptr<Transport> make_nccl_group_transport(Transport& host,
                                                     std::shared_ptr<StreamWaits> waits);

/// Rank and size as the launcher tells by environment variables, before MPI starts: {0, 1} when
/// this process was not started by an MPI launcher.
struct LaunchedAs {
    int rank = 0;
    int num_ranks = 1;
    bool by_launcher = false;
    /// Tasks of the srun step that started this process itself; 0: none did. More than one without
    /// `by_launcher`: srun said nothing to MPI, and each task would be a world of its own, with
    /// `rank` its number among them.
    int num_slurm_tasks = 0;
};
LaunchedAs launched_as();
/// Ranks of this job on this machine, as the launcher tells; 1 without one.
int ranks_on_this_machine();

} // namespace sluice
