#include "io/skipped_batches.hpp"

#include "core/error.hpp"

#include <algorithm>

namespace sluice {

namespace {
// Sums of batches and updates stay numbers.
constexpr std::int64_t most_batches = std::int64_t{1} << 62;
} // namespace

SkippedBatches::SkippedBatches(std::span<const std::int64_t> flat, const std::string& where)
{
    std::int64_t before = -1; // a batch lies between two ranges
    bool ascending = flat.size() % 2 == 0;
    for (std::size_t i = 0; ascending && i < flat.size(); i += 2) {
        ascending = flat[i] > before + 1 && flat[i + 1] >= flat[i] && flat[i + 1] < most_batches;
        before = flat[i + 1];
        ranges_.push_back({flat[i], flat[i + 1]});
    }
    if (!ascending)
        throw data_error("the skipped batches are not ranges in ascending order", where,
                         "use another checkpoint");
}

std::int64_t SkippedBatches::batch_of(std::int64_t update) const
{
    std::int64_t batch = update;
    for (const BatchRange& range : ranges_) {
        if (range.first > batch)
            break;
        batch += range.last - range.first + 1;
    }
    return batch;
}

BatchRange SkippedBatches::skip_updates(std::int64_t first, std::int64_t last)
{
    SLUICE_CHECK(1 <= first && first <= last, "updates " << first << " to " << last);
    const BatchRange added{batch_of(first), batch_of(last)};
    ranges_.push_back(added);
    std::sort(ranges_.begin(), ranges_.end(),
              [](const BatchRange& a, const BatchRange& b) { return a.first < b.first; });
    std::vector<BatchRange> merged;
    for (const BatchRange& range : ranges_)
        if (!merged.empty() && range.first <= merged.back().last + 1)
            merged.back().last = std::max(merged.back().last, range.last);
        else
            merged.push_back(range);
    ranges_ = std::move(merged);
    return added;
}

std::vector<std::int64_t> SkippedBatches::flat() const
{
    std::vector<std::int64_t> flat;
    for (const BatchRange& range : ranges_)
        flat.insert(flat.end(), {range.first, range.last});
    return flat;
}

std::string SkippedBatches::text() const
{
    std::string text;
    for (const BatchRange& range : ranges_) {
        text += (text.empty() ? "" : ", ") + std::to_string(range.first);
        if (range.last > range.first)
            text += "-" + std::to_string(range.last);
    }
    return text;
}

} // namespace sluice
