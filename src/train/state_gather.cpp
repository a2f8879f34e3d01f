#include "src/train/state_gather.hpp"

#include "core/compute_stream.hpp"

namespace sluice {

namespace {

MessageLabel label_of(std::size_t array)
{
    return {.chunk = 0,
            .microbatch = static_cast<std::int32_t>(array),
            .gradient = false,
            .called = "optimizer state"};
}

} // namespace

StateGather::StateGather(Stage& stage, const Replicas& replicas, Gathered gathered)
    : stream_(stage.stream()), replicas_(replicas),
      num_groups_(gathered == Gathered::all ? state_groups.size() : 1)
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

const TensorView& StateGather::own(std::size_t array) const
{
    const Parameter& parameter = *entry(array).parameter;
    switch (array % num_groups_) {
    case 0: return parameter.has_master() ? parameter.master : parameter.value;
    case 1: return parameter.first_moment;
    default: return parameter.second_moment;
    }
}

bool StateGather::is_shared_out(std::size_t array) const
{
    const bool whole_everywhere = array % num_groups_ == 0 && !entry(array).parameter->has_master();
    return replicas_.count() > 1 && !whole_everywhere;
}

TensorView StateGather::view(std::size_t array) const
{
    return is_shared_out(array) ? entry(array).parameter->gradient : own(array);
}

void StateGather::take(std::size_t array)
{
    SLUICE_CHECK(array == num_taken_, "array " << array << " after " << num_taken_);
    ++num_taken_;
    if (!is_shared_out(array))
        return;
    const auto part = [&](int replica) {
        const ElementRange range = entry(array).owned[static_cast<std::size_t>(replica)];
        return entry(array).parameter->gradient.slice(range.begin, {range.size()});
    };
    if (!entry(array).owned[0].empty())
        copy(stream_, own(array), part(0));
    for (int replica = 1; replica < replicas_.count(); ++replica)
        if (part(replica).num_elements() > 0)
            replicas_.peers().wait(
                replicas_.peers().receive(part(replica), replica, label_of(array)));
}

void StateGather::take_the_rest()
{
    while (num_taken_ < num_arrays())
        take(num_taken_);
}

void StateGather::give_all()
{
    for (std::size_t array = 0; array < num_arrays(); ++array)
        if (is_shared_out(array) && own(array).num_elements() > 0)
            replicas_.peers().wait(replicas_.peers().send(own(array), 0, label_of(array)));
}

} // namespace sluice
