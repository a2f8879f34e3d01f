#include "layers/parameter_memory.hpp"

#include <algorithm>

namespace sluice {

namespace {

std::int64_t elements_per_alignment(DType dtype)
{
    return static_cast<std::int64_t>(arena_alignment_bytes / size_of(dtype));
}

std::int64_t aligned(std::int64_t num_elements, DType dtype)
{
    const std::int64_t unit = elements_per_alignment(dtype);
    return (num_elements + unit - 1) / unit * unit;
}

bool same_group(const ParameterSpec& a, const ParameterSpec& b)
{
    return a.layer == b.layer && (a.layer >= 0 || (a.index == 0) == (b.index == 0));
}

/// Parameters [first, last) as one group, with the place of each in it.
struct GroupLayout {
    std::size_t first = 0, last = 0;
    std::vector<std::int64_t> offsets; ///< [last - first], in elements
    std::int64_t num_elements = 0;
};

template <class SpecAt>
std::vector<GroupLayout> layouts_of(std::size_t num_parameters, DType dtype, const SpecAt& spec_at)
{
    std::vector<GroupLayout> groups;
    for (std::size_t i = 0; i < num_parameters; ++i) {
        const ParameterSpec& spec = spec_at(i);
        if (i == 0 || !same_group(spec_at(i - 1), spec))
            groups.push_back({.first = i, .last = i, .offsets = {}, .num_elements = 0});
        GroupLayout& group = groups.back();
        if (!spec.continues)
            group.num_elements = aligned(group.num_elements, dtype);
        group.offsets.push_back(group.num_elements);
        group.num_elements += spec.shape.num_elements();
        group.last = i + 1;
    }
    for (GroupLayout& group : groups)
        group.num_elements = aligned(group.num_elements, dtype);
    return groups;
}

TensorView part_of_view(const TensorView& whole, std::int64_t begin, const Shape& shape)
{
    return whole.empty() ? TensorView{nullptr, whole.dtype, shape, whole.device}
                         : whole.slice(begin, shape);
}

void allocate_whole(std::vector<Parameter>& parameters, const GroupLayout& group,
                    TensorView Parameter::*member, DType dtype, Arena& arena)
{
    const TensorView together = arena.allocate(dtype, {group.num_elements});
    for (std::size_t i = group.first; i < group.last; ++i)
        parameters[i].*member =
            part_of_view(together, group.offsets[i - group.first], parameters[i].spec.shape);
}

/// Of a parameter of `num_elements` at `offset` in its group, the elements inside `part`.
ElementRange overlap(const ElementRange& part, std::int64_t offset, std::int64_t num_elements)
{
    const std::int64_t begin = std::max(offset, part.begin);
    const std::int64_t end = std::min(offset + num_elements, part.end);
    return begin < end ? ElementRange{begin - offset, end - offset} : ElementRange{};
}

/// `part`: of the group's elements.
void allocate_state(std::vector<Parameter>& parameters, const GroupLayout& group,
                    TensorView Parameter::*member, DType dtype, const ElementRange& part,
                    Arena& arena)
{
    const TensorView together = arena.allocate(dtype, {part.size()});
    for (std::size_t i = group.first; i < group.last; ++i) {
        Parameter& parameter = parameters[i];
        const std::int64_t offset = group.offsets[i - group.first];
        parameter.owned = overlap(part, offset, parameter.spec.shape.num_elements());
        const std::int64_t begin = offset + parameter.owned.begin - part.begin;
        if (parameter.owned.size() == parameter.spec.shape.num_elements())
            parameter.*member = part_of_view(together, begin, parameter.spec.shape);
        else if (!parameter.owned.empty())
            parameter.*member = part_of_view(together, begin, {parameter.owned.size()});
        else
            parameter.*member = {nullptr, dtype, {0}, together.device};
    }
}

std::vector<Parameter> without_memory(const ModelSpec& spec, const LayerRange& range,
                                      const Precision& precision)
{
    std::vector<Parameter> parameters;
    for (ParameterSpec& parameter : parameters_of(spec, range)) {
        const TensorView state{nullptr, precision.state, {0}};
        parameters.push_back({.spec = std::move(parameter),
                              .value = {nullptr, precision.compute, {0}},
                              .gradient = {nullptr, precision.gradient, {0}},
                              .master = state,
                              .first_moment = state,
                              .second_moment = state});
    }
    return parameters;
}

std::vector<GroupLayout> layouts_of(const std::vector<Parameter>& parameters, DType dtype)
{
    return layouts_of(parameters.size(), dtype,
                      [&](std::size_t i) -> const ParameterSpec& { return parameters[i].spec; });
}

} // namespace

ElementRange part_of(std::int64_t num_elements, DType dtype, MomentShard shard)
{
    SLUICE_CHECK(shard.count > 0 && shard.index >= 0 && shard.index < shard.count,
                 "part " << shard.index << " of " << shard.count);
    const std::int64_t unit = elements_per_alignment(dtype);
    const std::int64_t units = num_elements / unit;
    const auto cut = [&](std::int64_t part) {
        return part == shard.count ? num_elements : units * part / shard.count * unit;
    };
    return {cut(shard.index), cut(shard.index + 1)};
}

std::vector<ParameterGroup> groups_of(std::span<const Parameter> parameters)
{
    std::vector<ParameterGroup> groups;
    if (parameters.empty())
        return groups;
    for (const GroupLayout& layout :
         layouts_of(parameters.size(), parameters.front().value.dtype,
                    [&](std::size_t i) -> const ParameterSpec& { return parameters[i].spec; })) {
        ParameterGroup group{.first = layout.first,
                             .last = layout.last,
                             .value = parameters[layout.first].value,
                             .gradient = parameters[layout.first].gradient};
        group.value.shape = group.gradient.shape = {layout.num_elements};
        groups.push_back(group);
    }
    return groups;
}

ElementRange owned_elements(const ParameterGroup& group, const Parameter& parameter,
                            MomentShard shard)
{
    const auto offset = (static_cast<const std::byte*>(parameter.value.data) -
                         static_cast<const std::byte*>(group.value.data)) /
                        static_cast<std::ptrdiff_t>(size_of(group.value.dtype));
    return overlap(part_of(group.value.num_elements(), group.value.dtype, shard), offset,
                   parameter.spec.shape.num_elements());
}

TensorView joined(const TensorView& first, const TensorView& last)
{
    const auto num_bytes = static_cast<const std::byte*>(last.data) -
                           static_cast<const std::byte*>(first.data) +
                           static_cast<std::ptrdiff_t>(last.num_bytes());
    SLUICE_CHECK(first.dtype == last.dtype && num_bytes > 0, num_bytes << " bytes");
    TensorView all = first;
    all.shape = {num_bytes / static_cast<std::ptrdiff_t>(size_of(first.dtype))};
    return all;
}

std::vector<Parameter> allocate_parameters(const ModelSpec& spec, const LayerRange& range,
                                           const Precision& precision, MomentShard shard,
                                           Arena& values, Arena& gradients, Arena& states)
{
    std::vector<Parameter> parameters = without_memory(spec, range, precision);
    const auto groups = layouts_of(parameters, precision.compute);
    for (const GroupLayout& group : groups) {
        allocate_whole(parameters, group, &Parameter::value, precision.compute, values);
        allocate_whole(parameters, group, &Parameter::gradient, precision.gradient, gradients);
    }
    const auto allocate_states = [&](TensorView Parameter::*member) {
        for (const GroupLayout& group : groups)
            allocate_state(parameters, group, member, precision.state,
                           part_of(group.num_elements, precision.compute, shard), states);
    };
    if (precision.has_master())
        allocate_states(&Parameter::master);
    allocate_states(&Parameter::first_moment);
    allocate_states(&Parameter::second_moment);
    return parameters;
}

std::vector<Parameter> allocate_values(const ModelSpec& spec, const LayerRange& range,
                                       const Precision& precision, Arena& values)
{
    std::vector<Parameter> parameters = without_memory(spec, range, precision);
    for (const GroupLayout& group : layouts_of(parameters, precision.compute))
        allocate_whole(parameters, group, &Parameter::value, precision.compute, values);
    return parameters;
}

} // namespace sluice
