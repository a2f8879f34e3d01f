#include "src/watch/stall.hpp"

#include <algorithm>
#include <cmath>
#include <iterator>

namespace sluice {

namespace {

std::size_t at(int rank) { return static_cast<std::size_t>(rank); }

std::string whole_seconds(double seconds) { return std::to_string(std::lround(seconds)) + " s"; }

/// Whether `a`, in a collective, may wait for `b`: not where that is in it too, or was. Some may
/// leave one in which others still wait.
bool may_wait_for(const RankState& a, const RankState& b)
{
    if (b.wait == WaitKind::collective && a.collective == b.collective)
        return false;
    if (a.presumed || b.presumed) // in no call that is known
        return true;
    CollectiveCall last = b.collective; // kept behind its end
    const bool as_late = static_cast<std::int32_t>(last.number - a.collective.number) >= 0;
    last.number = a.collective.number;
    return !(as_late && last == a.collective);
}

/// Follows who waits for whom from rank 0 until a rank comes again.
Stall find_circle(std::span<const RankView> ranks)
{
    std::vector<int> path, seen(ranks.size(), -1);
    int rank = 0;
    while (rank >= 0 && seen[at(rank)] < 0) {
        seen[at(rank)] = static_cast<int>(path.size());
        path.push_back(rank);
        rank = waits_for(ranks, rank);
    }
    if (rank < 0)
        return {Stall::Kind::incomplete, {}};
    path.erase(path.begin(), path.begin() + seen[at(rank)]);
    // What a host is not seen waiting for may long be there: then it stands still by itself.
    std::vector<int> presumed;
    std::ranges::copy_if(path, std::back_inserter(presumed),
                         [&](int other) { return ranks[at(other)].state.presumed; });
    if (presumed.empty())
        return {Stall::Kind::circle, path};
    std::ranges::sort(presumed);
    return {Stall::Kind::stuck, presumed};
}

std::string phase_text(const RankState& state)
{
    switch (state.phase) {
    case RankPhase::starting: return "starting";
    case RankPhase::connecting: return "connecting by NCCL";
    case RankPhase::training: return "update " + std::to_string(state.update);
    case RankPhase::evaluating: return "evaluation behind update " + std::to_string(state.update);
    case RankPhase::saving: return "checkpoint of update " + std::to_string(state.update);
    case RankPhase::ending: return "ending behind update " + std::to_string(state.update);
    }
    return "";
}

/// Outside any action.
const char* activity_text(Activity activity)
{
    switch (activity) {
    case Activity::data: return ", reading tokens";
    case Activity::waiting_for_sends: return ", sending its last messages";
    case Activity::replicas: return ", exchange with other replicas";
    case Activity::reduction: return ", reduction";
    case Activity::optimizer: return ", optimizer";
    default: return "";
    }
}

std::string names_of(std::span<const int> ranks, std::span<const std::string> names)
{
    std::string text;
    for (std::size_t i = 0; i < ranks.size() && i < 8; ++i)
        text += (i == 0 ? "" : ", ") + names[at(ranks[i])];
    return ranks.size() > 8 ? text + " and " + std::to_string(ranks.size() - 8) + " more" : text;
}

std::string headline(const Stall& stall, std::span<const RankView> ranks,
                     std::span<const std::string> names)
{
    const std::string who = names_of(stall.culprits, names);
    const bool one = stall.culprits.size() == 1;
    if (stall.kind == Stall::Kind::incomplete)
        return "every rank waits in an exchange that does not end: a network that is stuck?";
    const RankView& first = ranks[at(stall.culprits.front())];
    switch (stall.kind) {
    case Stall::Kind::silent:
        return who + (one ? " hangs: its heartbeat" : " hang: their heartbeats") + " stopped " +
               whole_seconds(first.silent_seconds) + " ago (" + where(first.state) + ")";
    case Stall::Kind::stuck:
        return who + (one ? " hangs" : " hang") + ": on one spot for " +
               whole_seconds(first.standing_seconds()) + " while waiting for nobody (" +
               where(first.state) + ")";
    default: return who + " wait for each other, each for the next and the last for the first";
    }
}

std::string waiting_text(std::span<const RankView> ranks, std::span<const std::string> names,
                         int rank)
{
    const RankView& view = ranks[at(rank)];
    const int target = waits_for(ranks, rank);
    std::string text = names[at(rank)];
    if (target >= 0) {
        text += view.state.wait == WaitKind::sending ? " waits to send to " : " waits for ";
        text += names[at(target)];
    } else {
        text += view.state.wait == WaitKind::none ? " waits for nobody" : " waits with all others";
    }
    return text + " for " + whole_seconds(view.standing_seconds()) + ": " + where(view.state);
}

/// How many steps of waiting lead from `rank` to a culprit; a large number where none do.
int distance(std::span<const RankView> ranks, const std::vector<int>& culprits, int rank)
{
    const int far = static_cast<int>(ranks.size()) + 1;
    int steps = 0;
    while (rank >= 0 && steps < far) {
        if (std::find(culprits.begin(), culprits.end(), rank) != culprits.end())
            return steps;
        rank = waits_for(ranks, rank);
        ++steps;
    }
    return far;
}

} // namespace

int waits_for(std::span<const RankView> ranks, int rank)
{
    const RankView& view = ranks[at(rank)];
    switch (view.state.wait) {
    case WaitKind::none: return -1;
    case WaitKind::receiving:
    case WaitKind::sending: return view.state.partner;
    case WaitKind::collective: break;
    }
    const CollectiveCall& call = view.state.collective;
    for (std::int32_t i = 0; i < call.count; ++i) {
        const int other = call.first + i * call.stride;
        // Read while it changed, a call may be of ranks that do not exist.
        if (other < 0 || other >= static_cast<int>(ranks.size()))
            return -1;
        if (other != rank && ranks[at(other)].known &&
            may_wait_for(view.state, ranks[at(other)].state))
            return other;
    }
    return -1;
}

std::optional<Stall> find_stall(std::span<const RankView> ranks, const HangBounds& bounds, int here)
{
    const RankView& mine = ranks[at(here)];
    Stall silent{Stall::Kind::silent, {}}, stuck{Stall::Kind::stuck, {}};
    bool all_wait = true;
    for (int rank = 0; rank < static_cast<int>(ranks.size()); ++rank) {
        const RankView& view = ranks[at(rank)];
        const bool stands = view.known && view.standing_seconds() >= bounds.of(view.state);
        if (view.known && rank != here && view.silent_seconds >= bounds.silence)
            silent.culprits.push_back(rank);
        else if (stands && view.state.wait == WaitKind::none)
            stuck.culprits.push_back(rank);
        all_wait = all_wait && stands && view.state.wait != WaitKind::none;
    }
    // An update may go on for a while without the rank that has stopped: that is part of the bound.
    if (!silent.culprits.empty() && mine.standing_seconds() >= 0.8 * bounds.silence)
        return silent;
    if (!stuck.culprits.empty())
        return stuck;
    if (all_wait)
        return find_circle(ranks);
    return std::nullopt;
}

std::string what_to_do(const Stall& stall, std::span<const RankView> ranks)
{
    const int first = stall.culprits.empty() ? 0 : stall.culprits.front();
    if (stall.kind != Stall::Kind::silent && ranks[at(first)].state.phase == RankPhase::connecting)
        return "see that NCCL takes a network that joins these nodes (NCCL_SOCKET_IFNAME, "
               "NCCL_IB_HCA; NCCL_DEBUG=INFO tells what it does), or write pipeline.transport = "
               "\"mpi\"";
    return {};
}

std::string where(const RankState& state)
{
    std::string text = phase_text(state);
    if (state.at_files)
        text += ", at a file or a terminal that keeps it waiting";
    if (!state.in_action)
        return text + (state.at_files ? "" : activity_text(state.activity));
    return text + ", stage " + std::to_string(state.action.chunk) + ", micro-batch " +
           std::to_string(state.action.microbatch) + ", action " + text_of(state.action);
}

std::vector<std::string> describe(const Stall& stall, std::span<const RankView> ranks,
                                  std::span<const std::string> names, int most_lines)
{
    std::vector<std::string> lines{headline(stall, ranks, names)};
    std::vector<std::pair<int, int>> others; // how far from a culprit, rank
    for (int rank = 0; rank < static_cast<int>(ranks.size()); ++rank) {
        const bool blamed =
            stall.kind != Stall::Kind::circle &&
            std::find(stall.culprits.begin(), stall.culprits.end(), rank) != stall.culprits.end();
        if (!blamed && ranks[at(rank)].known && !ranks[at(rank)].dead)
            others.emplace_back(distance(ranks, stall.culprits, rank), rank);
    }
    std::sort(others.begin(), others.end());
    const std::size_t shown = std::min(others.size(), static_cast<std::size_t>(most_lines));
    for (std::size_t i = 0; i < shown; ++i)
        lines.push_back(waiting_text(ranks, names, others[i].second));
    if (shown < others.size())
        lines.push_back("and " + std::to_string(others.size() - shown) + " more ranks");
    return lines;
}

} // namespace sluice
