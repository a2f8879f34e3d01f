#include "src/watch/watchdog.hpp"

#include "src/process/thread_without_signals.hpp"
#include "src/watch/heartbeat_links.hpp"
#include "src/watch/stall.hpp"

#include <algorithm>
#include <atomic>
#include <boost/asio/post.hpp>
#include <boost/asio/steady_timer.hpp>
#include <chrono>
#include <future>
#include <nlohmann/json.hpp>
#include <optional>
#include <thread>
#include <unistd.h>

namespace sluice {

namespace {

using Clock = std::chrono::steady_clock;

bool contains(const std::vector<int>& ranks, int rank)
{
    return std::find(ranks.begin(), ranks.end(), rank) != ranks.end();
}

/// A death often comes with that of the whole job, of which nothing need be said.
constexpr double death_patience = 0.3;

} // namespace

class Watchdog::Thread {
public:
    Thread(int rank, RankActivity& activity, Options options)
        : rank_(rank), activity_(activity), options_(std::move(options)), timer_(io_), links_(io_)
    {
    }
    ~Thread()
    {
        io_.stop();
        if (thread_.joinable())
            thread_.join();
    }

    std::uint16_t listen() { return links_.listen(); }
    std::vector<int> connect(std::vector<RankAddress> ranks)
    {
        ranks_ = std::move(ranks);
        views_.resize(ranks_.size());
        centres_ = choose_centres(ranks_);
        // Many ranks are heard less often, so that a centre has a few thousand messages a second.
        interval_seconds_ = ranks_.size() <= 64 ? 0.25 : 1.0;
        return links_.connect(ranks_, centres_, rank_,
                              {.heard = [this](const Heartbeat& beat) { heard(beat); },
                               .closed = [this](int other) { closed(other); }});
    }
    /// From now on this rank is heard, and whom it hears is watched.
    void start()
    {
        thread_ = thread_without_signals([this] {
            last_tick_ = Clock::now();
            tick();
            io_.run();
        });
    }

    /// Watched are also `others`, whose connections with this rank stand, if they never say a word.
    void watch(std::vector<int> others)
    {
        boost::asio::post(io_, [this, others = std::move(others)] {
            for (const int other : others)
                views_[static_cast<std::size_t>(other)].known = true;
        });
    }

    /// Connections may end from now on.
    void let_leave() { leaving_ = true; }
    /// True where this call is the first to end the watch.
    bool end() { return !ended_.exchange(true); }
    /// Tells the ranks that watch this one that somebody speaks already.
    void announce_end()
    {
        auto sent = std::make_shared<std::promise<void>>();
        boost::asio::post(io_, [this, sent] {
            links_.send({.kind = Heartbeat::Kind::end, .culprit = rank_});
            sent->set_value();
        });
        sent->get_future().wait_for(std::chrono::seconds(1));
    }

private:
    void heard(const Heartbeat& beat);
    void closed(int other);
    void tick();
    void look_at_myself(double gap);
    void judge(double gap);
    double patience(const std::vector<int>& silent) const;
    void raise(Alarm alarm, const std::vector<int>& culprits);
    std::string process_text(int other) const;
    Alarm death_of(int other) const;
    Alarm hang_of(const Stall& stall) const;
    void schedule(double seconds)
    {
        timer_.expires_after(
            std::chrono::duration_cast<Clock::duration>(std::chrono::duration<double>(seconds)));
        timer_.async_wait([this](const boost::system::error_code& error) {
            if (!error)
                tick();
        });
    }

    int rank_;
    RankActivity& activity_;
    Options options_;
    boost::asio::io_context io_;
    boost::asio::steady_timer timer_;
    HeartbeatLinks links_;
    std::vector<RankAddress> ranks_;
    std::vector<RankView> views_; ///< [rank]; of the centres only, where this rank is none
    std::vector<int> centres_;
    SlowestUpdate slowest_;
    std::int64_t counted_updates_ = 0;
    double interval_seconds_ = 0.25;
    double dead_seconds_ = 0.0, stalled_seconds_ = 0.0;
    Clock::time_point last_tick_;
    std::atomic<bool> leaving_{false}, ended_{false};
    std::thread thread_;
};

void Watchdog::Thread::heard(const Heartbeat& beat)
{
    if (beat.kind == Heartbeat::Kind::end) {
        if (end())
            raise({}, {beat.culprit});
        return;
    }
    RankView& view = views_[static_cast<std::size_t>(beat.from)];
    view.known = true;
    view.silent_seconds = 0.0;
    view.unchanged_seconds = beat.unchanged_seconds;
    view.state = beat.state;
}

void Watchdog::Thread::closed(int other)
{
    RankView& view = views_[static_cast<std::size_t>(other)];
    if (leaving_)
        view.known = false;
    else
        view.dead = true;
    schedule(death_patience);
}

void Watchdog::Thread::tick()
{
    // A process that was itself stopped for a while has not been listening: longer gaps do not
    // count.
    const auto now = Clock::now();
    const double gap =
        std::min(std::chrono::duration<double>(now - last_tick_).count(), 2.0 * interval_seconds_);
    last_tick_ = now;
    look_at_myself(gap);
    const RankView& mine = views_[static_cast<std::size_t>(rank_)];
    links_.send({.unchanged_seconds = mine.unchanged_seconds, .state = mine.state});
    for (int other = 0; other < static_cast<int>(views_.size()); ++other)
        if (other != rank_)
            views_[static_cast<std::size_t>(other)].silent_seconds += gap;
    if (!ended_)
        judge(gap);
    schedule(interval_seconds_);
}

void Watchdog::Thread::look_at_myself(double gap)
{
    RankView& mine = views_[static_cast<std::size_t>(rank_)];
    const RankState state = activity_.state();
    const bool moved = !mine.known || state.changes != mine.state.changes;
    mine.unchanged_seconds = moved ? 0.0 : mine.unchanged_seconds + gap;
    mine.state = state;
    mine.known = true;
    // The first update is no usual one.
    const std::int64_t finished = activity_.finished_updates();
    if (finished > counted_updates_ && finished > 1)
        slowest_.add(activity_.last_update_seconds());
    counted_updates_ = finished;
}

void Watchdog::Thread::judge(double gap)
{
    const auto dead =
        std::find_if(views_.begin(), views_.end(), [](const RankView& view) { return view.dead; });
    if (dead != views_.end() && !leaving_) {
        const int other = static_cast<int>(dead - views_.begin());
        dead_seconds_ += gap;
        if (dead_seconds_ >= 0.5 * death_patience + patience({other}) && end())
            raise(death_of(other), {other});
        return;
    }
    const HangBounds bounds = hang_bounds(options_.hang_seconds, counted_updates_,
                                          slowest_.seconds(), activity_.checkpoint_bytes());
    const auto stall = find_stall(views_, bounds, rank_);
    stalled_seconds_ = stall ? stalled_seconds_ + gap : 0.0;
    // Only a silent rank cannot speak: one that stands still has its watching thread.
    const std::vector<int> silent =
        stall && stall->kind == Stall::Kind::silent ? stall->culprits : std::vector<int>{};
    if (stall && stalled_seconds_ > patience(silent) && end())
        raise(hang_of(*stall), stall->culprits);
}

/// Rank 0 speaks; the others only where the ones before them cannot (they are among `silent`), or
/// had the time to and did not.
double Watchdog::Thread::patience(const std::vector<int>& silent) const
{
    if (rank_ == centres_.front())
        return 0.0;
    if (rank_ == centres_.back())
        return contains(silent, centres_.front()) ? 0.0 : 3.0;
    return 6.0;
}

void Watchdog::Thread::raise(Alarm alarm, const std::vector<int>& culprits)
{
    const RankAddress& here = ranks_[static_cast<std::size_t>(rank_)];
    for (const int other : culprits) {
        if (other < 0 || other == rank_)
            continue;
        const RankAddress& its = ranks_[static_cast<std::size_t>(other)];
        if (its.machine == here.machine && !views_[static_cast<std::size_t>(other)].dead)
            alarm.stopped_here.push_back(its.process);
    }
    // Without centres, the first of the others speaks.
    int first_other = 0;
    while (contains(centres_, first_other))
        ++first_other;
    if (alarm.kind != Alarm::Kind::told && !contains(centres_, rank_) && rank_ != first_other)
        alarm.kind = Alarm::Kind::told;
    if (alarm.kind != Alarm::Kind::told)
        links_.send(
            {.kind = Heartbeat::Kind::end, .culprit = culprits.empty() ? -1 : culprits.front()});
    options_.on_alarm(alarm);
}

std::string Watchdog::Thread::process_text(int other) const
{
    const RankAddress& address = ranks_[static_cast<std::size_t>(other)];
    return "process " + std::to_string(address.process) + " on " + address.host;
}

Alarm Watchdog::Thread::death_of(int other) const
{
    const RankView& view = views_[static_cast<std::size_t>(other)];
    std::string text = options_.rank_name[static_cast<std::size_t>(other)] + " (" +
                       process_text(other) +
                       ") died without a word: killed, crashed, or out of memory";
    if (view.known)
        text += " (last heard of: " + where(view.state) + ")";
    return {.kind = Alarm::Kind::died, .lines = {text}};
}

Alarm Watchdog::Thread::hang_of(const Stall& stall) const
{
    Alarm alarm{.kind = Alarm::Kind::hangs,
                .lines = describe(stall, views_, options_.rank_name),
                .remedy = what_to_do(stall, views_)};
    if (stall.culprits.size() == 1)
        alarm.lines.front() += ", " + process_text(stall.culprits.front());
    return alarm;
}

Watchdog::Watchdog(Transport& transport, RankActivity& activity, Options options)
    : transport_(transport), activity_(activity),
      thread_(std::make_unique<Thread>(transport.rank(), activity, std::move(options)))
{
    const std::uint16_t port = transport.num_ranks() > 1 ? thread_->listen() : std::uint16_t{0};
    std::vector<RankAddress> ranks;
    for (const std::string& text : transport.gather_text(to_text(address_of_this_rank(port))))
        ranks.push_back(rank_address_from(text));
    const std::vector<int> not_reached = thread_->connect(ranks);
    // At once: who waits below for a rank that hangs must not look as if it did so, too.
    thread_->start();
    const std::vector<int> centres = choose_centres(ranks);
    std::vector<std::vector<int>> missed;
    for (const std::string& text : transport.gather_text(nlohmann::json(not_reached).dump()))
        missed.push_back(nlohmann::json::parse(text));
    const auto connected = [&](int from, int to) {
        return contains(centres, to) && (!contains(centres, from) || to < from) &&
               !contains(missed[static_cast<std::size_t>(from)], to);
    };
    std::vector<int> linked;
    for (int rank = 0; rank < transport.num_ranks(); ++rank) {
        if (!missed[static_cast<std::size_t>(rank)].empty())
            unwatched_.push_back(rank);
        if (connected(rank, transport.rank()) || connected(transport.rank(), rank))
            linked.push_back(rank);
    }
    thread_->watch(std::move(linked));
}

Watchdog::~Watchdog()
{
    if (dismissed_)
        return;
    if (!leaving_)
        let_leave();
    dismiss();
}

void Watchdog::let_leave()
{
    leaving_ = true;
    activity_.enter(RankPhase::ending);
    // Whoever is past the barrier may go: by then, all let others leave.
    thread_->let_leave();
    transport_.barrier();
}

void Watchdog::dismiss()
{
    if (!dismissed_ && !thread_->end())
        for (;;)
            pause();
    dismissed_ = true;
}

void Watchdog::speak_for_all()
{
    dismiss();
    thread_->announce_end();
}

} // namespace sluice
