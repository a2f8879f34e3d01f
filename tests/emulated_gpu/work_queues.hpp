// The streams of emulated GPUs: queues of work that is held back as long as CUDA would allow.
//
// With seed 0 work runs when the host waits for it, and not before; what other streams hold runs
// only where an event asks for it. With any other seed work runs at times of a random generator's
// choice, early or late, in any order that streams and events allow. So a host that does not wait
// for a copy, or a stream that does not wait for another, sees wrong numbers.
//
// Work that depends on other processes (messages of an emulated NCCL) is held until it can run
// without blocking. What others may wait for runs by itself when the host has not called for a
// while, as on a GPU, which needs no host to go on.
//
// While a stream is captured what it is given is kept and does not run. Whatever CUDA then forbids
// is refused, and more: events of the stream, and copies between it and the host, whose addresses
// would stay the same for ever. As CUDA does in its mode for one thread, it forbids the capturing
// thread alone to wait and to take or free memory; a capture in which that happens is lost.
//
// Code is loaded when it is first used, as CUDA does it: that may wait for everything under way on
// the GPU, for messages too. So code that is first used while a message is under way is refused:
// the message may be one that only comes when that very code has run.
//
// Work that touches memory which another stream uses, without an event or a wait of the host
// between, is refused when it is queued (stream_order.hpp).
//
// A queue may be given a length, as a GPU's has (of about a thousand launches): the host then waits
// where it would get further ahead.
//
// Memory that work may still use is not freed: the host must have waited for it. Locked memory is
// not freed at all where an error has left a message that may never come.
//
// Threads may share it. Once a piece of work has failed the rest is dropped, as after an error of
// a GPU.
#pragma once

#include "tests/emulated_gpu/stream_order.hpp"

#include <chrono>
#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <random>
#include <set>
#include <string>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

namespace sluice::testing {

class WorkQueue;

/// The place in a queue that an event stands for.
struct Mark {
    WorkQueue* queue = nullptr; ///< valid until reached
    std::uint64_t position = 0; ///< reached when that many pieces of work of the queue are done
    int polls_left = 0;         ///< asking more often makes the work run
    int late_polls = 0;         ///< behind these that did not find it reached
    bool reached = false;
    std::chrono::steady_clock::time_point time; ///< when the stream came to it
    WorkDone done;                              ///< what is done where it stands
};

struct Work {
    std::string name;
    std::function<void()> body;      ///< runs with the memory of GPUs open; or none
    MemoryAccesses accesses;         ///< of the body
    std::function<bool()> ready;     ///< whether it need not wait for another process; or none
    std::shared_ptr<Mark> reaches;   ///< or null
    std::shared_ptr<Mark> waits_for; ///< or null
};

/// What was given to a stream while it was captured.
struct CapturedWork {
    std::thread::id by;
    std::vector<Work> work;
    std::string lost_by; ///< what made it useless, or empty
};

class WorkQueue {
public:
    WorkQueue(int gpu, std::size_t stream) : gpu_(gpu), stream_(stream) {}
    int gpu() const { return gpu_; }

private:
    friend class WorkQueues;
    int gpu_;
    std::size_t stream_; ///< to StreamOrder
    std::deque<Work> held_;
    std::uint64_t num_added_ = 0, num_done_ = 0;
    std::optional<CapturedWork> capture_;
};

class WorkQueues {
public:
    /// Seeded with SLUICE_EMULATED_SEED, 0 without it.
    static WorkQueues& of_process();

    /// From now on. With nothing held.
    void set_seed(std::uint64_t seed);
    std::uint64_t seed() const { return seed_; }
    /// From now on the host waits where a stream would hold more work; 0: never. At first
    /// SLUICE_EMULATED_QUEUE, or never.
    void set_most_held(std::size_t most) { most_held_ = most; }

    WorkQueue* make(int gpu);
    /// Its work is done first; the host does not know of it.
    void remove(WorkQueue* queue) noexcept;

    /// Throws EmulationError where the accesses are in no order with another stream's.
    void add(WorkQueue& queue, std::string name, std::function<void()> body,
             std::function<bool()> ready = {}, MemoryAccesses accesses = {});
    /// MPI may touch memory of a GPU, or pinned, from now on until it ends.
    void begin_message(std::int64_t key, const std::string& name, const MemoryAccess& access);
    void end_message(std::int64_t key);
    /// Whether missing waits are refused, which they are at first: for tests of what comes of one.
    void refuse_missing_waits(bool refuse) { refuses_missing_waits_ = refuse; }
    /// Throws EmulationError where `code` (a kernel, a library's choice for a product) is used for
    /// the first time on that GPU and a message is under way there. Returns whether it is the first
    /// time.
    bool use(int gpu, const std::string& code);
    /// The same for whatever may wait for all work of the GPU each time it is called.
    void refuse_beside_messages(int gpu, const std::string& what);
    /// No code has been used, as in a new process.
    void unload();
    /// From now on work that others may wait for needs no host.
    void run_by_itself();
    std::shared_ptr<Mark> mark(WorkQueue& queue);
    void hold_back(WorkQueue& queue, std::shared_ptr<Mark> mark);

    /// Until end_capture() or forget_capture().
    void begin_capture(WorkQueue& queue);
    /// Throws EmulationError when something spoilt it.
    std::vector<Work> end_capture(WorkQueue& queue);
    void forget_capture(WorkQueue& queue) noexcept;
    bool captures(const WorkQueue& queue);
    /// Throws EmulationError when this thread captures a stream, and spoils the capture.
    void refuse_while_capturing(std::string_view what);
    /// The same where nothing may be thrown: end_capture() says it.
    void spoil_captures(std::string_view by) noexcept;
    /// All of it, in order.
    void add_again(WorkQueue& queue, const std::vector<Work>& work);

    // The host waits. Throws EmulationError naming the work that failed.
    void wait_for(WorkQueue& queue);
    void wait_for(const Mark& mark);
    /// Whether it is reached; after a few polls it is, unless that takes another process. Never
    /// blocks.
    bool poll(Mark& mark);
    /// All queues, as clearing memory does.
    void wait_for_all() noexcept;
    /// Before memory is freed. CUDA need not wait for work that uses it: where the host has not,
    /// the process ends here and says which. While an exception is on its way, when nobody can
    /// wait, and once work has failed, all work is done first.
    void begin_release(const void* begin, std::size_t num_bytes) noexcept;
    /// Before locked memory is given back. CUDA may wait for the whole GPU then: while an exception
    /// is on its way and a message waits for another process, which may have ended, the process
    /// ends here and says so.
    void begin_unlock() noexcept;

private:
    class Opening;
    void push(WorkQueue& queue, Work work);
    static void keep(CapturedWork& capture, Work work);
    bool ready(const WorkQueue& queue) const;
    void refuse_messages(int gpu, const std::string& what) const;
    void run_front(WorkQueue& queue);
    void run_to(WorkQueue& queue, std::uint64_t position);
    void run_some();
    bool run_what_can(WorkQueue& queue, std::uint64_t position);
    bool run_for_others();
    void run_for_poll(Mark& mark);
    void keep_running();
    bool coin() { return seed_ != 0 && random_() % 2 == 0; }

    std::mutex mutex_;
    StreamOrder order_;
    bool refuses_missing_waits_ = true;
    std::size_t most_held_ = 0;
    std::uint64_t seed_ = 0;
    std::mt19937_64 random_;
    std::vector<std::unique_ptr<WorkQueue>> queues_;
    std::set<std::pair<int, std::string>> loaded_; ///< GPU and code
    bool runs_by_itself_ = false;
    std::chrono::steady_clock::time_point last_call_; ///< of the host
    std::string failure_;                             ///< of the first work that failed
    Opening* opening_ = nullptr;                      ///< of the call that is going on
};

} // namespace sluice::testing
