// NCCL between the emulated GPUs of processes on one machine: these calls take the place of the
// library's at link time.
//
// A message is a file in a folder of the communicator. As NCCL's, a send is done when the receiver
// has taken it, and the k-th receive from a rank gets its k-th send; work is queued on streams, and
// a message that does not come holds up its stream and not the host. Messages of a group go on
// together, and its stream goes on when all are through; alone, each holds up what is behind it.
// The first message between two ranks blocks the host until both have asked for it, as NCCL then
// connects them. An asynchronous error is a message that does not come for
// SLUICE_EMULATED_NCCL_PATIENCE seconds (without it: for ever). Nothing aborts a communicator.
//
// SLUICE_EMULATED_NCCL_LOST: so many messages of a process come through, and no more, as on a
// network that connects and does not carry. SLUICE_EMULATED_NCCL=none: no such library here;
// =21605: that version, too old; =offline: it finds no network; =deaf: it finds one, and does not
// connect; with ":1" behind it on rank 1 alone. SLUICE_EMULATED_NCCL_CONF: NAME=VALUE, a line of
// its configuration file. SLUICE_EMULATED_NCCL_BYTES: what each communicator takes of its GPU (0).
#include "core/error.hpp"
#include "pipeline/transport/nccl_library.hpp"
#include "pipeline/transport/transport.hpp"
#include "tests/emulated_gpu/emulated_memory.hpp"
#include "tests/emulated_gpu/work_queues.hpp"
#include "tests/layers/kernels/cuda/block_executor.hpp"

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <map>
#include <memory>
#include <random>
#include <set>
#include <string>
#include <thread>
#include <vector>

namespace {

namespace fs = std::filesystem;
using sluice::testing::EmulatedMemory;
using sluice::testing::EmulationError;
using sluice::testing::WorkQueue;
using sluice::testing::WorkQueues;

std::int64_t now_ms()
{
    return std::chrono::duration_cast<std::chrono::milliseconds>(
               std::chrono::steady_clock::now().time_since_epoch())
        .count();
}

struct Channel {
    fs::path folder;
    int place = 0, num_ranks = 0, gpu = 0;
    std::map<int, std::uint64_t> num_sent, num_received; ///< by peer
    std::set<std::pair<int, int>> connected;             ///< from, to
    int num_ctas = 0;                                    ///< at most, of each kernel
    void* memory = nullptr;                              ///< of the GPU
    std::atomic<std::int64_t> waits_since_ms{0}; ///< for the message at the front; 0: for none

    fs::path message(int from, int to, std::uint64_t number) const
    {
        return folder /
               (std::to_string(from) + "-to-" + std::to_string(to) + "-" + std::to_string(number));
    }
    fs::path presence(int of) const { return folder / ("here-" + std::to_string(of)); }
    /// Of one end of the way between two ranks.
    fs::path greeting(int from, int to, int of) const
    {
        return folder / ("way-" + std::to_string(from) + "-to-" + std::to_string(to) + "-" +
                         std::to_string(of));
    }
    /// What it was asked; remembers since when a message does not come.
    bool answer(bool is_there)
    {
        std::int64_t none = 0;
        if (is_there)
            waits_since_ms = 0;
        else
            waits_since_ms.compare_exchange_strong(none, now_ms());
        return is_there;
    }
    bool nobody_else_is_left() const
    {
        std::error_code error;
        for (int other = 0; other < num_ranks; ++other)
            if (other != place && fs::exists(presence(other), error))
                return false;
        return true;
    }
};

/// Whether the file comes within a minute.
bool comes(const fs::path& file)
{
    for (int i = 0; i < 60'000; ++i) {
        if (fs::exists(file))
            return true;
        std::this_thread::sleep_for(std::chrono::milliseconds(1));
    }
    return false;
}

} // namespace

struct ncclComm {
    std::shared_ptr<Channel> channel;
};

namespace {

/// A message that a call asked for.
struct Asked {
    std::shared_ptr<Channel> channel;
    WorkQueue* queue = nullptr;
    std::byte* data = nullptr;
    std::size_t num_bytes = 0;
    int peer = -1;
    bool receiving = false;
    fs::path file{};
    bool lost = false;

    int from() const { return receiving ? peer : channel->place; }
    int to() const { return receiving ? channel->place : peer; }

    void write() const
    {
        if (lost)
            return;
        const fs::path part = file.string() + ".part";
        std::ofstream(part, std::ios::binary)
            .write(reinterpret_cast<const char*>(data), static_cast<std::streamsize>(num_bytes));
        fs::rename(part, file);
    }
    void read() const
    {
        if (fs::file_size(file) != num_bytes)
            throw EmulationError("a message of " + std::to_string(fs::file_size(file)) +
                                 " bytes, where " + std::to_string(num_bytes) + " are expected");
        std::ifstream(file, std::ios::binary)
            .read(reinterpret_cast<char*>(data), static_cast<std::streamsize>(num_bytes));
        fs::remove(file);
    }
    bool has_come() const
    {
        std::error_code error;
        return channel->answer(fs::exists(file, error));
    }
    bool was_taken() const
    {
        std::error_code error;
        return channel->answer(!lost && !fs::exists(file, error));
    }
};

std::string last_error;
ncclResult_t fails(ncclResult_t result, const std::string& why)
{
    last_error = why;
    return result;
}

std::string setting(const char* variable)
{
    const char* const text = std::getenv(variable);
    return text == nullptr ? "" : text;
}

/// Empty on ranks that it is not meant for.
std::string emulated_library()
{
    const std::string text = setting("SLUICE_EMULATED_NCCL");
    const std::size_t colon = text.find(':');
    if (colon != std::string::npos &&
        std::stoi(text.substr(colon + 1)) != sluice::launched_as().rank)
        return {};
    return text.substr(0, colon);
}

/// Half of an A100's multiprocessors: kernels that wait for other ranks must leave room to compute.
constexpr int most_ctas = 54;
/// As many as NCCL takes between GPUs on one switch, where nobody says another number.
constexpr int default_ctas = 32;
int ctas_of_process = 0;

std::uint64_t num_sent_by_process = 0;
bool is_lost(std::uint64_t number)
{
    const std::string text = setting("SLUICE_EMULATED_NCCL_LOST");
    return !text.empty() && number >= std::stoull(text);
}

thread_local int group_depth = 0;
thread_local std::vector<Asked> group;

/// The host's part of the first message between two ranks.
ncclResult_t connect(const std::vector<Asked>& messages)
{
    std::vector<fs::path> others;
    for (const Asked& one : messages) {
        Channel& channel = *one.channel;
        if (!channel.connected.emplace(one.from(), one.to()).second)
            continue;
        std::ofstream(channel.greeting(one.from(), one.to(), channel.place)) << '\n';
        others.push_back(channel.greeting(one.from(), one.to(), one.peer));
    }
    return std::ranges::all_of(others, comes)
               ? ncclSuccess
               : fails(ncclSystemError, "a peer did not come for its first message");
}

ncclResult_t queue(std::vector<Asked> messages)
{
    if (const ncclResult_t result = connect(messages); result != ncclSuccess)
        return result;
    WorkQueues& queues = WorkQueues::of_process();
    for (Asked& one : messages) {
        Channel& channel = *one.channel;
        const auto number =
            one.receiving ? channel.num_received[one.peer]++ : channel.num_sent[one.peer]++;
        one.file = channel.message(one.from(), one.to(), number);
        one.lost = !one.receiving && is_lost(num_sent_by_process++);
    }
    const auto add = [&](bool receiving, const char* name, auto body, auto ready) {
        for (const Asked& one : messages)
            if (one.receiving == receiving)
                queues.add(
                    *one.queue, name, [one, body] { body(one); },
                    [one, ready] { return ready(one); },
                    {{one.data, one.num_bytes, receiving, "message"}});
    };
    // Others may wait for a send: it is always ready.
    add(
        false, "NCCL's send", [](const Asked& one) { one.write(); },
        [](const Asked&) { return true; });
    add(
        true, "NCCL's receive", [](const Asked& one) { one.read(); },
        [](const Asked& one) { return one.has_come(); });
    add(
        false, "NCCL's send, until it is received", [](const Asked&) {},
        [](const Asked& one) { return one.was_taken(); });
    return ncclSuccess;
}

ncclResult_t ask(const Asked& message)
{
    if (group_depth > 0) {
        group.push_back(message);
        return ncclSuccess;
    }
    return queue({message});
}

ncclResult_t group_start()
{
    ++group_depth;
    return ncclSuccess;
}

ncclResult_t group_end()
{
    if (group_depth == 0)
        return ncclInvalidUsage;
    return --group_depth > 0 ? ncclSuccess : queue(std::exchange(group, {}));
}

ncclResult_t get_version(int* version)
{
    const std::string emulated = emulated_library();
    const bool is_version = !emulated.empty() && emulated.front() >= '0' && emulated.front() <= '9';
    *version = is_version ? std::stoi(emulated) : NCCL_VERSION_CODE;
    return ncclSuccess;
}

const char* get_last_error(ncclComm_t) { return last_error.c_str(); }

ncclResult_t get_unique_id(ncclUniqueId* id)
{
    if (emulated_library() == "offline")
        return fails(ncclInvalidUsage, "Bootstrap : no socket interface found");
    const std::string line = setting("SLUICE_EMULATED_NCCL_CONF");
    if (const std::size_t equals = line.find('='); equals != std::string::npos)
        setenv(line.substr(0, equals).c_str(), line.substr(equals + 1).c_str(), 0);
    std::memset(id, 0, sizeof *id);
    std::random_device random;
    for (int i = 0; i < 24; ++i)
        id->internal[i] = "0123456789abcdef"[random() % 16];
    return ncclSuccess;
}

/// Until the peers are there too, as NCCL's.
ncclResult_t comm_init_rank_config(ncclComm_t* made, int num_ranks, ncclUniqueId id, int place,
                                   ncclConfig_t* config)
{
    if (num_ranks < 2 || place < 0 || place >= num_ranks || id.internal[0] == 0)
        return fails(ncclInvalidArgument, "a rank or an id that cannot be");
    if (config->magic != 0xcafebeef || config->maxCTAs == 0)
        return fails(ncclInvalidArgument, "a configuration that cannot be");
    if (emulated_library() == "deaf")
        return fails(ncclSystemError, "Net : connection refused");
    auto channel = std::make_shared<Channel>();
    channel->folder =
        fs::temp_directory_path() / ("sluice-emulated-nccl-" + std::string(id.internal, 24));
    channel->place = place;
    channel->num_ranks = num_ranks;
    channel->gpu = sluice::testing::current_emulated_gpu();
    channel->num_ctas = config->maxCTAs == NCCL_CONFIG_UNDEF_INT ? default_ctas : config->maxCTAs;
    if (ctas_of_process + channel->num_ctas > most_ctas)
        return fails(ncclInvalidUsage, std::to_string(ctas_of_process + channel->num_ctas) +
                                           " blocks at once leave too little to compute with");
    const std::string bytes = setting("SLUICE_EMULATED_NCCL_BYTES");
    if (!bytes.empty()) {
        channel->memory = EmulatedMemory::of_process().allocate(
            channel->gpu, std::stoull(bytes), sluice::testing::FreshMemory::untouched);
        if (channel->memory == nullptr)
            return fails(ncclUnhandledCudaError, "Cuda failure 2 'out of memory'");
    }
    fs::create_directories(channel->folder);
    std::ofstream(channel->presence(place)) << '\n';
    for (int other = 0; other < num_ranks; ++other)
        if (!comes(channel->presence(other)))
            return fails(ncclSystemError, "rank " + std::to_string(other) + " did not come");
    WorkQueues::of_process().run_by_itself();
    ctas_of_process += channel->num_ctas;
    *made = new ncclComm{std::move(channel)};
    return ncclSuccess;
}

/// Whoever leaves last takes the folder along.
void leave(ncclComm_t communicator)
{
    const Channel& channel = *communicator->channel;
    std::error_code error;
    fs::remove(channel.presence(channel.place), error);
    if (channel.nobody_else_is_left())
        fs::remove_all(channel.folder, error);
    ctas_of_process -= channel.num_ctas;
    if (channel.memory != nullptr)
        EmulatedMemory::of_process().release(channel.memory);
    delete communicator;
}

ncclResult_t comm_destroy(ncclComm_t communicator)
{
    WorkQueues::of_process().wait_for_all(); // what was queued is done first
    leave(communicator);
    return ncclSuccess;
}

ncclResult_t comm_get_async_error(ncclComm_t communicator, ncclResult_t* state)
{
    // As a network's, which gives up on a peer after a while: SLUICE_EMULATED_NCCL_PATIENCE
    // seconds.
    const char* const patience = std::getenv("SLUICE_EMULATED_NCCL_PATIENCE");
    const Channel& channel = *communicator->channel;
    const std::int64_t since = channel.waits_since_ms;
    const bool lost = patience != nullptr && since > 0 &&
                      static_cast<double>(now_ms() - since) > 1e3 * std::atof(patience);
    *state = lost ? fails(ncclRemoteError, "a connection was closed") : ncclSuccess;
    return ncclSuccess;
}

const char* get_error_string(ncclResult_t result)
{
    if (result == ncclRemoteError)
        return "a peer has given up";
    if (result == ncclInvalidUsage)
        return "invalid usage (run with NCCL_DEBUG=WARN for details)";
    return result == ncclSystemError ? "system error" : "invalid argument";
}

/// Refuses what NCCL would refuse.
ncclResult_t message(void* data, std::size_t num_bytes, ncclDataType_t type, int peer,
                     ncclComm_t communicator, cudaStream_t stream, bool receiving)
{
    const auto& channel = communicator->channel;
    WorkQueue* queue = reinterpret_cast<WorkQueue*>(stream);
    const auto block = EmulatedMemory::of_process().find(data, num_bytes);
    if (type != ncclChar || peer < 0 || peer >= channel->num_ranks || peer == channel->place ||
        queue == nullptr || !block || block->gpu != queue->gpu() || block->gpu != channel->gpu)
        return fails(ncclInvalidArgument,
                     "memory, a stream or a peer that is not the communicator's");
    return ask({channel, queue, static_cast<std::byte*>(data), num_bytes, peer, receiving});
}

ncclResult_t send(const void* data, std::size_t num_bytes, ncclDataType_t type, int peer,
                  ncclComm_t communicator, cudaStream_t stream)
{
    return message(const_cast<void*>(data), num_bytes, type, peer, communicator, stream, false);
}

ncclResult_t receive(void* data, std::size_t num_bytes, ncclDataType_t type, int peer,
                     ncclComm_t communicator, cudaStream_t stream)
{
    return message(data, num_bytes, type, peer, communicator, stream, true);
}

} // namespace

const sluice::NcclLibrary& sluice::NcclLibrary::loaded()
{
    if (emulated_library() == "none")
        throw usage_error("cannot load libnccl.so.2: it is not there", "messages between GPUs",
                          "install NCCL, or write pipeline.transport = \"mpi\"");
    int version = 0;
    ::get_version(&version);
    refuse_unfit_nccl(version);
    static const NcclLibrary calls{
        .get_version = ::get_version,
        .get_unique_id = ::get_unique_id,
        .comm_init_rank_config = ::comm_init_rank_config,
        .comm_destroy = ::comm_destroy,
        .comm_get_async_error = ::comm_get_async_error,
        .get_error_string = ::get_error_string,
        .get_last_error = ::get_last_error,
        .send = ::send,
        .receive = ::receive,
        .group_start = ::group_start,
        .group_end = ::group_end,
    };
    return calls;
}
