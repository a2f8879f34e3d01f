// Which rank has become slow, judged by the time it computes in each update. Waiting does not
// count: one slow rank makes all others wait.
//
// A reading is the median over a block of updates, and a rank's history is the median of its
// readings. Each rank is measured against its own history, so that stages need not be equal, and
// what it gained or lost against that of its peers, so that whatever slows all alike (longer
// evaluations of the same machine, a warmer room) names nobody. A rank is named once when several
// readings in a row are slow, so that hiccups name nobody either, and its history then stands still
// until it has recovered.
//
// Who is slow from the start has a slow history. So a history that has just been learned is
// compared with those of the ranks that do the same work, where there are enough of them for a
// majority.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

namespace sluice {

struct StragglerRules {
    std::size_t block_updates = 10; ///< of one reading
    std::size_t least_history = 3;  ///< readings before anybody is judged: one may be of a start
    std::size_t most_history = 50;  ///< readings kept
    std::size_t sustained = 2;      ///< slow readings in a row until a rank is named
    double slow = 1.25;             ///< times its history, and times its peers' gain or loss
    double recovered = 1.1;         ///< below this, as many readings in a row
    std::size_t least_alike = 3;    ///< ranks that do the same work, to be compared at the start
};

struct StragglerNotice {
    int rank = 0;
    bool recovered = false;     ///< or slow
    bool from_start = false;    ///< against ranks that do the same work, not against its history
    double slowdown = 1.0;      ///< against its history, relative to its peers
    double seconds = 0.0;       ///< it now computes in an update
    double usual_seconds = 0.0; ///< by its history; from_start: the median of those ranks
};

class StragglerDetector {
public:
    explicit StragglerDetector(int num_ranks, const StragglerRules& rules = {});

    /// `compute_seconds`: [num_ranks], of the next update. Returns who has just become slow or
    /// recovered. Allocates nothing unless there is somebody. A rank alone is never named.
    std::vector<StragglerNotice> observe(std::span<const double> compute_seconds);

    /// The ranks' work has changed (a gate opened): histories begin anew. Who is named stays so, as
    /// slow as it was. `work`: [num_ranks], equal for ranks that do the same work; empty where
    /// nothing is known of it.
    void forget_histories(std::span<const std::size_t> work = {});

private:
    struct Rank {
        std::vector<double> block;   ///< [block_updates], as far as it goes
        std::vector<double> history; ///< a ring of readings
        std::size_t next = 0;        ///< place in the ring
        std::size_t streak = 0;      ///< readings in a row that speak for a change
        bool named = false;
        std::size_t work = 0;  ///< equal for ranks that do the same
        double slowdown = 1.0; ///< of the last reading that was judged
        double reading = 0.0, usual = 0.0, ratio = 0.0;
    };

    void read_blocks();
    bool judge(std::size_t rank);
    std::vector<StragglerNotice> compare_starts();
    double usual_of_alike(std::size_t rank);
    void remember(Rank& rank, double reading);
    double median_of_others(std::size_t rank);

    StragglerRules rules_;
    std::vector<Rank> ranks_;
    std::vector<double> scratch_;
    std::size_t num_in_block_ = 0;
    bool starts_compared_ = false; ///< of the histories that are there now
};

} // namespace sluice
