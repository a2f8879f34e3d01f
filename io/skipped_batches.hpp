// Which batches a run leaves out, and so which batch each update trains on.
//
// Batches are counted from 1; batch b is the global samples (b-1) G, ..., b G - 1
// (sample_order.hpp). Update u trains on the u-th batch that is not skipped: batch u, as long as
// none is. A batch is skipped by an update that refused it, and stays skipped for the rest of the
// run.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

namespace sluice {

struct BatchRange {
    std::int64_t first = 0, last = 0; ///< both belong to it
    bool operator==(const BatchRange&) const = default;
};

class SkippedBatches {
public:
    SkippedBatches() = default;
    /// From flat(). Throws UserError (data) with `where` when they are no ascending ranges.
    SkippedBatches(std::span<const std::int64_t> flat, const std::string& where);

    std::int64_t batch_of(std::int64_t update) const;
    /// From now on the batches that updates `first` to `last` would train on are skipped. Returns
    /// from which to which that is; ones skipped before may lie between.
    BatchRange skip_updates(std::int64_t first, std::int64_t last);

    bool empty() const { return ranges_.empty(); }
    /// Ascending, with batches between them that are not skipped.
    const std::vector<BatchRange>& ranges() const { return ranges_; }
    /// first, last, first, last, ...
    std::vector<std::int64_t> flat() const;
    /// "106-115, 201".
    std::string text() const;
    bool operator==(const SkippedBatches&) const = default;

private:
    std::vector<BatchRange> ranges_;
};

} // namespace sluice
