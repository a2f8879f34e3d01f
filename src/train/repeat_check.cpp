#include "src/train/repeat_check.hpp"

#include <algorithm>

namespace sluice {

namespace {

template <typename Visit>
void each_parameter(Stage& stage, Visit visit)
{
    for (StageChunk& chunk : stage.chunks())
        for (const Parameter& parameter : chunk.model->parameters())
            visit(parameter);
}

} // namespace

RepeatCheck::RepeatCheck(Stage& stage)
    : stage_(stage), gradients_(stage.stream(), stage.num_parameters(), stage.num_parameters()),
      remembered_(stage.num_parameters())
{
}

std::span<const std::uint64_t> RepeatCheck::checksums()
{
    gradients_.clear();
    std::size_t place = 0;
    each_parameter(stage_, [&](const Parameter& parameter) {
        gradients_.add(place++, parameter.gradient, 1);
    });
    gradients_.send();
    return gradients_.sums();
}

void RepeatCheck::remember() { std::ranges::copy(checksums(), remembered_.begin()); }

std::int64_t RepeatCheck::first_difference()
{
    const std::span<const std::uint64_t> now = checksums();
    std::int64_t first = -1;
    std::size_t place = 0;
    each_parameter(stage_, [&](const Parameter& parameter) {
        if (first < 0 && now[place] != remembered_[place])
            first = parameter.spec.index;
        ++place;
    });
    return first;
}

} // namespace sluice
