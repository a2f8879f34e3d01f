// NCCL between the emulated GPUs of processes on one machine: these calls take the place of the
// library's at link time.
//
// A message is a file in a folder of the communicator. As NCCL's, a send is done when the receiver
// has taken it, and the k-th receive gets the k-th send; work is queued on streams, and a message
// that does not come holds up its stream and not the host.
#include "core/error.hpp"
#include "pipeline/transport/nccl_library.hpp"
#include "tests/emulated_gpu/emulated_memory.hpp"
#include "tests/emulated_gpu/work_queues.hpp"
#include "tests/layers/kernels/cuda/block_executor.hpp"

#include <atomic>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <memory>
#include <random>
#include <string>
#include <thread>

namespace {

namespace fs = std::filesystem;
using sluice::testing::EmulatedMemory;
using sluice::testing::EmulationError;
using sluice::testing::WorkQueue;
using sluice::testing::WorkQueues;

struct Channel {
    fs::path folder;
    int place = 0, gpu = 0;
    std::uint64_t num_sent = 0, num_received = 0;
    std::atomic<bool> aborted{false};

    fs::path message(int from, std::uint64_t number) const
    {
        return folder / (std::to_string(from) + "-" + std::to_string(number));
    }
    fs::path presence(int of) const { return folder / ("here-" + std::to_string(of)); }
};

} // namespace

struct ncclComm {
    std::shared_ptr<Channel> channel;
};

namespace {

ncclResult_t get_unique_id(ncclUniqueId* id)
{
    std::memset(id, 0, sizeof *id);
    std::random_device random;
    for (int i = 0; i < 24; ++i)
        id->internal[i] = "0123456789abcdef"[random() % 16];
    return ncclSuccess;
}

/// Until the peer is there too, as NCCL's.
ncclResult_t comm_init_rank(ncclComm_t* made, int num_ranks, ncclUniqueId id, int place)
{
    if (num_ranks != 2 || place < 0 || place > 1 || id.internal[0] == 0)
        return ncclInvalidArgument;
    auto channel = std::make_shared<Channel>();
    channel->folder =
        fs::temp_directory_path() / ("sluice-emulated-nccl-" + std::string(id.internal, 24));
    channel->place = place;
    channel->gpu = sluice::testing::current_emulated_gpu();
    fs::create_directories(channel->folder);
    std::ofstream(channel->presence(place)) << '\n';
    for (int i = 0; !fs::exists(channel->presence(1 - place)); ++i) {
        if (i == 60'000)
            return ncclSystemError;
        std::this_thread::sleep_for(std::chrono::milliseconds(1));
    }
    WorkQueues::of_process().run_by_itself();
    *made = new ncclComm{std::move(channel)};
    return ncclSuccess;
}

/// Whoever leaves last takes the folder along.
void leave(ncclComm_t communicator)
{
    const Channel& channel = *communicator->channel;
    std::error_code error;
    fs::remove(channel.presence(channel.place), error);
    if (!fs::exists(channel.presence(1 - channel.place), error))
        fs::remove_all(channel.folder, error);
    delete communicator;
}

ncclResult_t comm_destroy(ncclComm_t communicator)
{
    WorkQueues::of_process().wait_for_all(); // what was queued is done first
    leave(communicator);
    return ncclSuccess;
}

ncclResult_t comm_abort(ncclComm_t communicator)
{
    communicator->channel->aborted = true;
    leave(communicator);
    return ncclSuccess;
}

ncclResult_t comm_get_async_error(ncclComm_t, ncclResult_t* state)
{
    *state = ncclSuccess;
    return ncclSuccess;
}

const char* get_error_string(ncclResult_t result)
{
    return result == ncclSystemError ? "the peer did not come" : "invalid argument";
}

/// Null when the call is one that NCCL would refuse.
WorkQueue* queue_for(const void* data, std::size_t num_bytes, ncclDataType_t type, int peer,
                     const Channel& channel, cudaStream_t stream)
{
    WorkQueue* queue = reinterpret_cast<WorkQueue*>(stream);
    const auto block = EmulatedMemory::of_process().find(data, num_bytes);
    const bool good = type == ncclChar && peer == 1 - channel.place && queue != nullptr && block &&
                      block->gpu == queue->gpu() && block->gpu == channel.gpu;
    return good ? queue : nullptr;
}

ncclResult_t send(const void* data, std::size_t num_bytes, ncclDataType_t type, int peer,
                  ncclComm_t communicator, cudaStream_t stream)
{
    const auto channel = communicator->channel;
    WorkQueue* queue = queue_for(data, num_bytes, type, peer, *channel, stream);
    if (queue == nullptr)
        return ncclInvalidArgument;
    const fs::path file = channel->message(channel->place, channel->num_sent++);
    WorkQueues::of_process().add(
        *queue, "NCCL's send",
        [=] {
            const fs::path part = file.string() + ".part";
            std::ofstream(part, std::ios::binary)
                .write(static_cast<const char*>(data), static_cast<std::streamsize>(num_bytes));
            fs::rename(part, file);
        },
        [] { return true; }); // others may wait for it
    WorkQueues::of_process().add(*queue, "NCCL's send, until it is received", {}, [=] {
        std::error_code error;
        return channel->aborted || !fs::exists(file, error);
    });
    return ncclSuccess;
}

ncclResult_t receive(void* data, std::size_t num_bytes, ncclDataType_t type, int peer,
                     ncclComm_t communicator, cudaStream_t stream)
{
    const auto channel = communicator->channel;
    WorkQueue* queue = queue_for(data, num_bytes, type, peer, *channel, stream);
    if (queue == nullptr)
        return ncclInvalidArgument;
    const fs::path file = channel->message(peer, channel->num_received++);
    WorkQueues::of_process().add(
        *queue, "NCCL's receive",
        [=] {
            if (channel->aborted)
                return;
            if (fs::file_size(file) != num_bytes)
                throw EmulationError("a message of " + std::to_string(fs::file_size(file)) +
                                     " bytes, where " + std::to_string(num_bytes) +
                                     " are expected");
            std::ifstream(file, std::ios::binary)
                .read(static_cast<char*>(data), static_cast<std::streamsize>(num_bytes));
            fs::remove(file);
        },
        [=] {
            std::error_code error;
            return channel->aborted || fs::exists(file, error);
        });
    return ncclSuccess;
}

} // namespace

const sluice::NcclLibrary& sluice::NcclLibrary::loaded()
{
    static const NcclLibrary calls{
        ::get_unique_id,        ::comm_init_rank,   ::comm_destroy, ::comm_abort,
        ::comm_get_async_error, ::get_error_string, ::send,         ::receive};
    return calls;
}
