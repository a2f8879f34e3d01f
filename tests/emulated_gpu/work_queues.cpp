#include "tests/emulated_gpu/work_queues.hpp"

#include "tests/emulated_gpu/emulated_memory.hpp"
#include "tests/layers/kernels/cuda/block_executor.hpp"

#include <algorithm>
#include <csignal>
#include <cstdlib>
#include <exception>
#include <optional>
#include <thread>

namespace sluice::testing {

namespace {

constexpr int usual_polls = 3;
// A host that has not called for so long may be waiting for another process.
constexpr std::chrono::milliseconds patience{20};
constexpr std::chrono::seconds too_long{120};

} // namespace

/// Memory is opened by the first piece of work that runs and closed when the call ends.
class WorkQueues::Opening {
public:
    explicit Opening(WorkQueues& queues) : queues_(queues), lock_(queues.mutex_)
    {
        queues_.opening_ = this;
        queues_.last_call_ = std::chrono::steady_clock::now();
    }
    ~Opening() { queues_.opening_ = nullptr; }
    void open()
    {
        if (!access_)
            access_.emplace();
    }

private:
    WorkQueues& queues_;
    std::scoped_lock<std::mutex> lock_;
    std::optional<DeviceAccess> access_;
};

WorkQueues& WorkQueues::of_process()
{
    static auto* queues = [] { // never destroyed: statics may hold streams
        auto* made = new WorkQueues;
        const char* seed = std::getenv("SLUICE_EMULATED_SEED");
        made->set_seed(seed != nullptr ? std::strtoull(seed, nullptr, 10) : 0);
        const char* most_held = std::getenv("SLUICE_EMULATED_QUEUE");
        made->set_most_held(most_held != nullptr ? std::strtoull(most_held, nullptr, 10) : 0);
        return made;
    }();
    return *queues;
}

void WorkQueues::set_seed(std::uint64_t seed)
{
    seed_ = seed;
    random_.seed(seed);
}

WorkQueue* WorkQueues::make(int gpu)
{
    const std::scoped_lock lock(mutex_);
    return queues_.emplace_back(std::make_unique<WorkQueue>(gpu, order_.add_stream())).get();
}

void WorkQueues::remove(WorkQueue* queue) noexcept
{
    spoil_captures("the end of a stream");
    const Opening opening(*this);
    run_to(*queue, queue->num_added_);
    std::erase_if(queues_, [queue](const auto& owned) { return owned.get() == queue; });
}

void WorkQueues::push(WorkQueue& queue, Work work)
{
    if (queue.capture_) {
        keep(*queue.capture_, std::move(work));
        return;
    }
    if (refuses_missing_waits_)
        order_.add_work(queue.stream_, work.name, work.accesses);
    if (most_held_ > 0 && queue.held_.size() >= most_held_)
        run_to(queue, queue.num_done_ + queue.held_.size() + 1 - most_held_);
    queue.held_.push_back(std::move(work));
    ++queue.num_added_;
    run_some();
}

void WorkQueues::add(WorkQueue& queue, std::string name, std::function<void()> body,
                     std::function<bool()> ready, MemoryAccesses accesses)
{
    const Opening opening(*this);
    push(queue, {.name = std::move(name),
                 .body = std::move(body),
                 .accesses = std::move(accesses),
                 .ready = std::move(ready),
                 .reaches = {},
                 .waits_for = {}});
}

std::shared_ptr<Mark> WorkQueues::mark(WorkQueue& queue)
{
    const Opening opening(*this);
    const auto polls = seed_ == 0 ? usual_polls : static_cast<int>(random_() % (2 * usual_polls));
    auto mark = std::make_shared<Mark>(Mark{.queue = &queue,
                                            .position = queue.num_added_ + 1,
                                            .polls_left = polls,
                                            .reached = false,
                                            .time = {},
                                            .done = order_.done_by(queue.stream_)});
    // Whether or not somebody is told so: a stream without work has come to it.
    if (!queue.capture_ && queue.held_.empty())
        mark->time = std::chrono::steady_clock::now();
    push(queue, {.name = "event",
                 .body = {},
                 .accesses = {},
                 .ready = {},
                 .reaches = mark,
                 .waits_for = {}});
    return mark;
}

void WorkQueues::hold_back(WorkQueue& queue, std::shared_ptr<Mark> mark)
{
    const Opening opening(*this);
    if (!queue.capture_)
        order_.hold_back(queue.stream_, mark->done);
    push(queue, {.name = "wait",
                 .body = {},
                 .accesses = {},
                 .ready = {},
                 .reaches = {},
                 .waits_for = std::move(mark)});
}

void WorkQueues::begin_message(std::int64_t key, const std::string& name,
                               const MemoryAccess& access)
{
    const std::scoped_lock lock(mutex_);
    if (refuses_missing_waits_)
        order_.begin_outside(key, name, access);
}

void WorkQueues::end_message(std::int64_t key)
{
    const std::scoped_lock lock(mutex_);
    order_.end_outside(key);
}

bool WorkQueues::use(int gpu, const std::string& code)
{
    const std::scoped_lock lock(mutex_);
    if (loaded_.contains({gpu, code}))
        return false;
    refuse_messages(gpu, code + " is used for the first time");
    return loaded_.emplace(gpu, code).second;
}

void WorkQueues::unload()
{
    const std::scoped_lock lock(mutex_);
    loaded_.clear();
}

void WorkQueues::refuse_beside_messages(int gpu, const std::string& what)
{
    const std::scoped_lock lock(mutex_);
    refuse_messages(gpu, what);
}

void WorkQueues::refuse_messages(int gpu, const std::string& what) const
{
    for (const auto& queue : queues_)
        if (queue->gpu_ == gpu)
            for (const Work& work : queue->held_)
                if (work.ready)
                    throw EmulationError(what + " while a message is under way (" + work.name +
                                         "), which CUDA may wait for then");
}

bool WorkQueues::ready(const WorkQueue& queue) const
{
    if (queue.held_.empty())
        return false;
    const Work& first = queue.held_.front();
    return (!first.waits_for || first.waits_for->reached) && (!first.ready || first.ready());
}

void WorkQueues::run_front(WorkQueue& queue)
{
    const Work work = std::move(queue.held_.front());
    queue.held_.pop_front();
    ++queue.num_done_;
    if (work.body && failure_.empty()) {
        opening_->open();
        DeviceAccess::say(work.name.c_str());
        try {
            work.body();
        } catch (const std::exception& error) {
            failure_ = "GPU " + std::to_string(queue.gpu_) + ", work " +
                       std::to_string(queue.num_done_) + " of its stream, " + work.name + ": " +
                       error.what();
        }
        DeviceAccess::say("nothing");
    }
    if (work.reaches) {
        if (work.reaches->time == std::chrono::steady_clock::time_point{})
            work.reaches->time = std::chrono::steady_clock::now();
        work.reaches->reached = true;
    }
}

void WorkQueues::run_some()
{
    while (coin()) {
        std::vector<WorkQueue*> choice;
        for (const auto& queue : queues_)
            if (ready(*queue))
                choice.push_back(queue.get());
        if (choice.empty())
            return;
        run_front(*choice[random_() % choice.size()]);
    }
}

/// As far as it goes without waiting for another process. Returns whether anything ran.
bool WorkQueues::run_what_can(WorkQueue& queue, std::uint64_t position)
{
    bool any = false;
    while (queue.num_done_ < position) {
        const std::shared_ptr<Mark> first = queue.held_.front().waits_for;
        if (first && !first->reached)
            any = run_what_can(*first->queue, first->position) || any;
        if (!ready(queue))
            return any;
        run_front(queue);
        any = true;
    }
    return any;
}

/// What queues that have to do with other processes can do.
bool WorkQueues::run_for_others()
{
    bool any = false;
    for (const auto& queue : queues_)
        if (std::ranges::any_of(queue->held_, [](const Work& work) { return bool(work.ready); }))
            any = run_what_can(*queue, queue->num_added_) || any;
    return any;
}

void WorkQueues::run_by_itself()
{
    const std::scoped_lock lock(mutex_);
    if (runs_by_itself_)
        return;
    runs_by_itself_ = true;
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before); // signals are for the program's own threads
    std::thread([this] { keep_running(); }).detach();
    pthread_sigmask(SIG_SETMASK, &before, nullptr);
}

void WorkQueues::keep_running()
{
    while (true) {
        std::this_thread::sleep_for(patience / 4);
        std::chrono::steady_clock::time_point last_call;
        {
            const std::scoped_lock lock(mutex_);
            last_call = last_call_;
        }
        if (std::chrono::steady_clock::now() - last_call < patience)
            continue;
        const Opening opening(*this);
        run_for_others();
        last_call_ = last_call;
    }
}

void WorkQueues::run_to(WorkQueue& queue, std::uint64_t position)
{
    auto begun = std::chrono::steady_clock::now();
    while (queue.num_done_ < position) {
        run_some();
        if (queue.num_done_ >= position)
            break;
        const Work& front = queue.held_.front();
        const std::shared_ptr<Mark> first = front.waits_for;
        if (first && !first->reached) { // it was recorded earlier, so this comes to an end
            run_to(*first->queue, first->position);
        } else if (front.ready && failure_.empty() && !front.ready()) {
            // Others may wait for what this process has not done yet.
            if (run_for_others())
                begun = std::chrono::steady_clock::now();
            else
                std::this_thread::sleep_for(std::chrono::microseconds(200));
            if (std::chrono::steady_clock::now() - begun > too_long)
                failure_ = front.name + " waits for another process that does not come";
        } else {
            run_front(queue);
        }
    }
}

void WorkQueues::wait_for(WorkQueue& queue)
{
    refuse_while_capturing("waiting for a stream");
    const Opening opening(*this);
    run_to(queue, queue.num_added_);
    order_.host_waited(order_.done_by(queue.stream_));
    if (!failure_.empty())
        throw EmulationError(failure_);
}

void WorkQueues::wait_for(const Mark& mark)
{
    refuse_while_capturing("waiting for an event");
    const Opening opening(*this);
    if (!mark.reached)
        run_to(*mark.queue, mark.position);
    order_.host_waited(mark.done);
    if (!failure_.empty())
        throw EmulationError(failure_);
}

/// A host that asks again and again waits as one that blocks does.
void WorkQueues::run_for_poll(Mark& mark)
{
    run_some();
    run_what_can(*mark.queue, mark.position);
    if (!mark.reached && ++mark.late_polls > usual_polls)
        run_for_others();
}

bool WorkQueues::poll(Mark& mark)
{
    refuse_while_capturing("asking for an event");
    const Opening opening(*this);
    if (mark.polls_left > 0)
        --mark.polls_left;
    else if (!mark.reached)
        run_for_poll(mark);
    if (mark.reached)
        order_.host_waited(mark.done);
    if (!failure_.empty())
        throw EmulationError(failure_);
    return mark.reached;
}

void WorkQueues::wait_for_all() noexcept
{
    spoil_captures("waiting for all streams");
    const Opening opening(*this);
    for (const auto& queue : queues_)
        run_to(*queue, queue->num_added_);
    order_.host_waited_for_all();
}

void WorkQueues::begin_unlock() noexcept
{
    if (std::uncaught_exceptions() == 0)
        return;
    const std::scoped_lock lock(mutex_);
    for (const auto& queue : queues_)
        for (const Work& work : queue->held_)
            if (work.ready && !work.ready())
                die("locked memory is freed behind an error, and " + work.name +
                    " may never come: CUDA may wait for it then");
}

void WorkQueues::begin_release(const void* begin, std::size_t num_bytes) noexcept
{
    spoil_captures("freeing memory");
    std::string user;
    bool nobody_waits = std::uncaught_exceptions() > 0;
    {
        const std::scoped_lock lock(mutex_);
        nobody_waits = nobody_waits || !failure_.empty();
        user = order_.still_used_by(begin, num_bytes);
    }
    if (user.empty())
        return;
    if (nobody_waits)
        wait_for_all();
    else
        die("a wait is missing: " + std::to_string(num_bytes) + " bytes are freed that " + user +
            ", and CUDA need not wait for it");
}

} // namespace sluice::testing
