#include "src/watch/straggler_detector.hpp"

#include "core/error.hpp"
#include "core/median.hpp"

#include <algorithm>

namespace sluice {

StragglerDetector::StragglerDetector(int num_ranks, const StragglerRules& rules)
    : rules_(rules), ranks_(static_cast<std::size_t>(num_ranks))
{
    for (Rank& rank : ranks_) {
        rank.block.resize(rules_.block_updates);
        rank.history.reserve(rules_.most_history);
    }
    scratch_.reserve(std::max({ranks_.size(), rules_.block_updates, rules_.most_history}));
    forget_histories();
}

void StragglerDetector::forget_histories(std::span<const std::size_t> work)
{
    SLUICE_CHECK(work.empty() || work.size() == ranks_.size(),
                 "the work of " << work.size() << " of " << ranks_.size() << " ranks");
    for (std::size_t index = 0; index < ranks_.size(); ++index) {
        Rank& rank = ranks_[index];
        rank.history.clear();
        rank.next = rank.streak = 0;
        rank.work = work.empty() ? index : work[index]; // of unknown work none are alike
    }
    num_in_block_ = 0;
    starts_compared_ = false;
}

std::vector<StragglerNotice> StragglerDetector::observe(std::span<const double> compute_seconds)
{
    SLUICE_CHECK(compute_seconds.size() == ranks_.size(),
                 compute_seconds.size() << " times of " << ranks_.size() << " ranks");
    if (ranks_.size() < 2)
        return {};
    for (std::size_t rank = 0; rank < ranks_.size(); ++rank)
        ranks_[rank].block[num_in_block_] = compute_seconds[rank];
    if (++num_in_block_ < rules_.block_updates)
        return {};
    num_in_block_ = 0;
    read_blocks();
    std::vector<StragglerNotice> notices = compare_starts();
    for (std::size_t rank = 0; rank < ranks_.size(); ++rank)
        if (judge(rank))
            notices.push_back({.rank = static_cast<int>(rank),
                               .recovered = !ranks_[rank].named,
                               .from_start = false,
                               .slowdown = ranks_[rank].slowdown,
                               .seconds = ranks_[rank].reading,
                               .usual_seconds = ranks_[rank].usual});
    return notices;
}

void StragglerDetector::read_blocks()
{
    for (Rank& rank : ranks_) {
        scratch_.assign(rank.block.begin(), rank.block.end());
        rank.reading = lower_median(scratch_);
        rank.usual = 0.0;
        rank.ratio = 1.0;
        if (rank.history.size() < rules_.least_history)
            continue;
        scratch_.assign(rank.history.begin(), rank.history.end());
        rank.usual = lower_median(scratch_);
        if (rank.usual > 0.0)
            rank.ratio = rank.reading / rank.usual;
    }
}

/// Median history of all ranks with this one's work, itself too; 0 where they are too few.
double StragglerDetector::usual_of_alike(std::size_t index)
{
    scratch_.clear();
    for (const Rank& rank : ranks_)
        if (rank.work == ranks_[index].work)
            scratch_.push_back(rank.usual);
    return scratch_.size() < rules_.least_alike ? 0.0 : lower_median(scratch_);
}

/// Names whose history, just learned, is slow against those of ranks alike; their usual time is its
/// usual time then.
std::vector<StragglerNotice> StragglerDetector::compare_starts()
{
    std::vector<StragglerNotice> notices;
    if (starts_compared_ || ranks_.front().history.size() < rules_.least_history)
        return notices;
    starts_compared_ = true;
    for (std::size_t index = 0; index < ranks_.size(); ++index) {
        const double alike = usual_of_alike(index);
        const double slowdown = alike > 0.0 ? ranks_[index].usual / alike : 1.0;
        if (ranks_[index].named || slowdown <= rules_.slow)
            continue;
        notices.push_back({.rank = static_cast<int>(index),
                           .recovered = false,
                           .from_start = true,
                           .slowdown = slowdown,
                           .seconds = ranks_[index].usual,
                           .usual_seconds = alike});
    }
    for (const StragglerNotice& notice : notices) {
        Rank& rank = ranks_[static_cast<std::size_t>(notice.rank)];
        rank.named = true;
        rank.slowdown = notice.slowdown;
        for (double& reading : rank.history)
            reading /= notice.slowdown;
        rank.usual /= notice.slowdown;
        rank.ratio *= notice.slowdown;
    }
    return notices;
}

double StragglerDetector::median_of_others(std::size_t rank)
{
    scratch_.clear();
    for (std::size_t other = 0; other < ranks_.size(); ++other)
        if (other != rank)
            scratch_.push_back(ranks_[other].ratio);
    return lower_median(scratch_);
}

/// Whether the rank has just become slow or recovered.
bool StragglerDetector::judge(std::size_t index)
{
    Rank& rank = ranks_[index];
    if (rank.history.size() < rules_.least_history) {
        remember(rank, rank.reading / (rank.named ? rank.slowdown : 1.0));
        return false;
    }
    // All but few are within bounds, and then their peers need no look.
    const double bound = rank.named ? rules_.recovered : rules_.slow;
    double slowdown = rank.ratio;
    if (slowdown > bound)
        slowdown = std::min(slowdown, rank.ratio / median_of_others(index));
    const bool slow = slowdown > bound;
    if (!slow && !rank.named)
        remember(rank, rank.reading);
    if (slow || rank.named)
        rank.slowdown = slowdown;
    rank.streak = slow != rank.named ? rank.streak + 1 : 0;
    if (rank.streak < rules_.sustained)
        return false;
    rank.streak = 0;
    rank.named = slow;
    return true;
}

void StragglerDetector::remember(Rank& rank, double reading)
{
    if (rank.history.size() < rules_.most_history)
        rank.history.push_back(reading);
    else
        rank.history[rank.next] = reading;
    rank.next = (rank.next + 1) % rules_.most_history;
}

} // namespace sluice
