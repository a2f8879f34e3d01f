#include "src/train/moment_gather.hpp"

#include "core/compute_stream.hpp"

namespace sluice {

namespace {

MessageLabel label_of(std::size_t moment)
{
    return {.chunk = 0,
            .microbatch = static_cast<std::int32_t>(moment),
            .gradient = false,
            .called = "optimizer moment"};
}

} // namespace

MomentGather::MomentGather(Stage& stage, const Replicas& replicas)
    : stream_(stage.stream()), replicas_(replicas)
{
    for (StageChunk& chunk : stage.chunks()) {
        const std::span<Parameter> parameters = chunk.model->parameters();
        for (const ParameterGroup& group : groups_of(parameters))
            for (std::size_t i = group.first; i < group.last; ++i) {
                Entry entry{.parameter = &parameters[i], .owned = {}};
                for (int replica = 0; replica < replicas.count(); ++replica)
                    entry.owned.push_back(
                        owned_elements(group, parameters[i], {replica, replicas.count()}));
                entries_.push_back(std::move(entry));
            }
    }
}

const TensorView& MomentGather::own(std::size_t moment) const
{
    const Parameter& parameter = *entries_[moment / 2].parameter;
    return moment % 2 == 0 ? parameter.first_moment : parameter.second_moment;
}

TensorView MomentGather::view(std::size_t moment) const
{
    return replicas_.count() == 1 ? own(moment) : entries_[moment / 2].parameter->gradient;
}

void MomentGather::take(std::size_t moment)
{
    SLUICE_CHECK(moment == num_taken_, "moment " << moment << " after " << num_taken_);
    ++num_taken_;
    if (replicas_.count() == 1)
        return;
    const Entry& entry = entries_[moment / 2];
    const auto part = [&](int replica) {
        const ElementRange range = entry.owned[static_cast<std::size_t>(replica)];
        return entry.parameter->gradient.slice(range.begin, {range.size()});
    };
    if (!entry.owned[0].empty())
        copy(stream_, own(moment), part(0));
    for (int replica = 1; replica < replicas_.count(); ++replica)
        if (part(replica).num_elements() > 0)
            replicas_.peers().wait(
                replicas_.peers().receive(part(replica), replica, label_of(moment)));
}

void MomentGather::take_the_rest()
{
    while (num_taken_ < num_moments())
        take(num_taken_);
}

void MomentGather::give_all()
{
    for (std::size_t moment = 0; moment < num_moments(); ++moment)
        if (own(moment).num_elements() > 0)
            replicas_.peers().wait(replicas_.peers().send(own(moment), 0, label_of(moment)));
}

} // namespace sluice
