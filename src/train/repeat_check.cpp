#include "src/train/repeat_check.hpp"

#include "core/checksum.hpp"
#include "core/compute_stream.hpp"

namespace sluice {

namespace {

template <typename Visit>
void each_parameter(Stage& stage, Visit visit)
{
    for (StageChunk& chunk : stage.chunks())
        for (const Parameter& parameter : chunk.model->parameters())
            visit(parameter.spec.index,
                  checksum64_of(HostCopy(stage.stream(), parameter.gradient).bytes()));
}

} // namespace

void RepeatCheck::remember(Stage& stage)
{
    checksums_.clear();
    each_parameter(stage, [&](std::int64_t, std::uint64_t sum) { checksums_.push_back(sum); });
}

std::int64_t RepeatCheck::first_difference(Stage& stage) const
{
    std::int64_t first = -1;
    std::size_t place = 0;
    each_parameter(stage, [&](std::int64_t index, std::uint64_t sum) {
        if (first < 0 && sum != checksums_[place])
            first = index;
        ++place;
    });
    return first;
}

} // namespace sluice
