#include "layers/kernels/cpu/attention_rows.hpp"

#include "layers/kernels/cpu/lanes.hpp"

#include <algorithm>
#include <limits>

namespace sluice::kernels {

namespace {

/// The first `count` lanes, `hidden` in the others.
Lanes first_or(const Lanes& lanes, float, AllLanes) { return lanes; }
Lanes first_or(const Lanes& lanes, float hidden, int count)
{
    constexpr IntLanes lane_numbers = {0, 1, 2, 3, 4, 5, 6, 7};
    return lane_numbers < count ? lanes : broadcast(hidden);
}

void clear_unseen(const ScoreRow& row, BFloat16* weights)
{
    for (std::int64_t key = row.visible; key < row.num_keys; ++key)
        weights[key] = BFloat16{};
}

} // namespace

RowSum softmax_row(const ScoreRow& row, float old_maximum, BFloat16* weights)
{
    constexpr float lowest = -std::numeric_limits<float>::infinity();
    Lanes largest = broadcast(lowest);
    for_each_chunk(row.visible, [&](std::int64_t key, auto count) {
        largest = max(first_or(load(row.scores + key), lowest, count), largest);
    });
    float maximum = lowest;
    for (int lane = 0; lane < num_lanes; ++lane)
        maximum = std::max(maximum, largest[lane]);
    maximum = std::max(old_maximum, row.scale * maximum);

    Lanes sums[2] = {}; // as the halves of wide lanes
    for_each_chunk(row.visible, [&](std::int64_t key, auto count) {
        const Lanes weight =
            first_or(exp(row.scale * load(row.scores + key) - maximum), 0.0F, count);
        sums[key / num_lanes % 2] += weight;
        store(weights + key, weight);
    });
    clear_unseen(row, weights);
    return {maximum, sum(sums[0] + sums[1])};
}

void score_gradient_row(const ScoreRow& row, const RowGradient& gradient, BFloat16* p, BFloat16* ds)
{
    for_each_chunk(row.visible, [&](std::int64_t key, auto count) {
        const Lanes weight = exp(row.scale * load(row.scores + key) - gradient.logsumexp);
        store(p + key, first_or(weight, 0.0F, count));
        store(ds + key,
              first_or(weight * (load(gradient.dp + key) - gradient.row_dot), 0.0F, count));
    });
    clear_unseen(row, p);
    clear_unseen(row, ds);
}

} // namespace sluice::kernels
