#include "layers/parameter_memory.hpp"

#include "layers/weight.hpp"
#include "tests/layers/layer_fixture.hpp"

#include <algorithm>

namespace sluice {
namespace {

struct Memory {
    Memory(const ModelSpec& spec, const LayerRange& range, const Precision& precision,
           MomentShard shard)
    {
        Arena counted_values, counted_gradients, counted_states;
        allocate_parameters(spec, range, precision, shard, counted_values, counted_gradients,
                            counted_states);
        values = Arena(counted_values.used_bytes(), {});
        gradients = Arena(counted_gradients.used_bytes(), {});
        states = Arena(counted_states.used_bytes(), {});
        parameters = allocate_parameters(spec, range, precision, shard, values, gradients, states);
        BOOST_CHECK_EQUAL(values.used_bytes(), counted_values.used_bytes());
        BOOST_CHECK_EQUAL(gradients.used_bytes(), counted_gradients.used_bytes());
        BOOST_CHECK_EQUAL(states.used_bytes(), counted_states.used_bytes());
    }
    Arena values, gradients, states;
    std::vector<Parameter> parameters;
};

constexpr LayerRange whole_model{.begin = 0, .end = 4, .embedding = true, .head = true};

/// Adds up in `owned` where the parts before this one end.
void check_shard(const std::vector<Parameter>& parameters, const Precision& precision,
                 MomentShard shard, std::vector<std::int64_t>& owned)
{
    for (std::size_t i = 0; i < owned.size(); ++i) {
        const Parameter& parameter = parameters[i];
        if (precision.has_master())
            BOOST_CHECK_EQUAL(parameter.master.num_elements(), parameter.owned.size());
        BOOST_CHECK_EQUAL(parameter.first_moment.num_elements(), parameter.owned.size());
        BOOST_CHECK_EQUAL(parameter.second_moment.num_elements(), parameter.owned.size());
        for (const ParameterGroup& group : groups_of(parameters))
            if (i >= group.first && i < group.last)
                BOOST_CHECK(owned_elements(group, parameter, shard) == parameter.owned);
        if (parameter.owned.empty())
            continue;
        BOOST_CHECK_EQUAL(parameter.owned.begin, owned[i]);
        owned[i] = parameter.owned.end;
        BOOST_CHECK(testing::all_zero(parameter.first_moment));
        BOOST_CHECK_EQUAL(parameter.owned_value().num_elements(), parameter.owned.size());
        BOOST_CHECK_EQUAL(parameter.owned_weight().num_elements(), parameter.owned.size());
    }
}

BOOST_AUTO_TEST_SUITE(parameter_memory)

BOOST_AUTO_TEST_CASE(parts_cover_everything_once_and_start_on_64_bytes)
{
    for (const DType dtype : {DType::bf16, DType::f32, DType::f64})
        for (const std::int64_t num_elements : {0, 32, 64, 1600, 160032})
            for (const int count : {1, 2, 3, 7, 64}) {
                std::int64_t begin = 0, largest = 0, smallest = num_elements;
                for (int index = 0; index < count; ++index) {
                    const ElementRange part = part_of(num_elements, dtype, {index, count});
                    BOOST_CHECK_EQUAL(part.begin, begin);
                    BOOST_CHECK_EQUAL(part.begin * static_cast<std::int64_t>(size_of(dtype)) % 64,
                                      0);
                    begin = part.end;
                    largest = std::max(largest, part.size());
                    smallest = std::min(smallest, part.size());
                }
                BOOST_CHECK_EQUAL(begin, num_elements);
                BOOST_CHECK_LE(largest - smallest, 64 / static_cast<std::int64_t>(size_of(dtype)));
            }
    BOOST_CHECK_THROW(part_of(16, DType::f32, {2, 2}), InvariantError);
}

BOOST_AUTO_TEST_CASE(groups_lie_in_one_piece_and_are_cut_alike_in_any_partition)
{
    const ModelSpec spec = testing::small_model({Arrangement::sandwich});
    BOOST_REQUIRE_EQUAL(spec.num_layers, 4);
    const Memory all(spec, whole_model, fp32_precision, {});
    const auto groups = groups_of(all.parameters);
    BOOST_REQUIRE_EQUAL(groups.size(), 6); // embedding, four layers, final norm and head
    std::size_t next = 0;
    for (const ParameterGroup& group : groups) {
        BOOST_CHECK_EQUAL(group.first, next);
        next = group.last;
        for (const auto& [whole, member] : {std::pair(group.value, &Parameter::value),
                                            std::pair(group.gradient, &Parameter::gradient)}) {
            const char* const begin = static_cast<const char*>(whole.data);
            const char* const end = begin + whole.num_bytes();
            const char* place = begin;
            for (std::size_t i = group.first; i < group.last; ++i) {
                const TensorView& tensor = all.parameters[i].*member;
                BOOST_CHECK(static_cast<const char*>(tensor.data) >= place);
                BOOST_CHECK(static_cast<const char*>(tensor.data) < place + 64);
                place = static_cast<const char*>(tensor.data) + tensor.num_bytes();
            }
            BOOST_CHECK(place <= end && end < place + 64);
        }
    }
    BOOST_CHECK_EQUAL(next, all.parameters.size());
    const Memory part(spec, {.begin = 1, .end = 2}, fp32_precision, {});
    const auto alone = groups_of(part.parameters);
    BOOST_REQUIRE_EQUAL(alone.size(), 1);
    BOOST_CHECK_EQUAL(alone[0].value.num_elements(), groups[2].value.num_elements());
}

BOOST_AUTO_TEST_CASE(shards_share_out_the_optimizers_state_once)
{
    const ModelSpec spec = testing::small_model({Arrangement::pre});
    for (const Precision& precision : {fp64_precision, bf16_precision, pure_bf16_precision}) {
        const Memory all(spec, whole_model, precision, {});
        for (const int count : {2, 3, 5}) {
            std::vector<std::int64_t> owned(all.parameters.size(), 0);
            std::size_t state_bytes = 0;
            for (int index = 0; index < count; ++index) {
                const Memory shard(spec, whole_model, precision, {index, count});
                BOOST_CHECK_EQUAL(shard.values.used_bytes(), all.values.used_bytes());
                BOOST_CHECK_EQUAL(shard.gradients.used_bytes(), all.gradients.used_bytes());
                state_bytes += shard.states.used_bytes();
                BOOST_CHECK_LE(shard.states.used_bytes(),
                               all.states.used_bytes() / count + 3 * 6 * 128);
                check_shard(shard.parameters, precision, {index, count}, owned);
            }
            for (std::size_t i = 0; i < owned.size(); ++i)
                BOOST_CHECK_EQUAL(owned[i], all.parameters[i].spec.shape.num_elements());
            BOOST_CHECK_EQUAL(state_bytes, all.states.used_bytes());
        }
    }
}

BOOST_AUTO_TEST_CASE(bytes_are_those_of_the_precision)
{
    const ModelSpec spec = testing::wide_model({Arrangement::pre});
    const std::pair<Precision, std::size_t> bytes_per_parameter[] = {
        {fp32_precision, 16}, {fp64_precision, 32}, {bf16_precision, 18}, {pure_bf16_precision, 8}};
    for (const auto& [precision, bytes] : bytes_per_parameter) {
        const Memory memory(spec, whole_model, precision, {});
        std::size_t num_elements = 0;
        for (const ParameterGroup& group : groups_of(memory.parameters))
            num_elements += static_cast<std::size_t>(group.value.num_elements());
        BOOST_CHECK_EQUAL(memory.values.used_bytes() + memory.gradients.used_bytes() +
                              memory.states.used_bytes(),
                          num_elements * bytes);
        for (const Parameter& parameter : memory.parameters) {
            BOOST_CHECK(parameter.value.dtype == precision.compute);
            BOOST_CHECK(parameter.gradient.dtype == precision.gradient);
            BOOST_CHECK(parameter.second_moment.dtype == precision.state);
            BOOST_CHECK_EQUAL(parameter.has_master(), precision.has_master());
            BOOST_CHECK(parameter.owned_weight().dtype == precision.state);
            BOOST_CHECK(parameter.owned_weight().data ==
                        (precision.has_master() ? parameter.master : parameter.value).data);
        }
    }
}

BOOST_AUTO_TEST_CASE(parameters_of_one_product_are_neighbours_in_all_four_tensors)
{
    const ModelSpec spec = testing::small_model({Arrangement::pre});
    const LayerRange range{1, 2};
    const Memory memory(spec, range, fp32_precision, {});
    const auto& parameters = memory.parameters;
    BOOST_CHECK_EQUAL(memory.values.used_bytes() + memory.gradients.used_bytes(),
                      memory.states.used_bytes());
    int num_continuing = 0;
    for (std::size_t i = 0; i < parameters.size(); ++i)
        for (const TensorView Parameter::*member :
             {&Parameter::value, &Parameter::gradient, &Parameter::first_moment,
              &Parameter::second_moment}) {
            const TensorView& tensor = parameters[i].*member;
            BOOST_CHECK(tensor.shape == parameters[i].spec.shape);
            BOOST_CHECK(testing::all_zero(tensor));
            if (!parameters[i].spec.continues)
                continue;
            const TensorView& before = parameters[i - 1].*member;
            BOOST_CHECK_EQUAL(static_cast<char*>(tensor.data) - static_cast<char*>(before.data),
                              static_cast<std::ptrdiff_t>(before.num_bytes()));
            ++num_continuing;
        }
    BOOST_CHECK_EQUAL(num_continuing, 4 * 3); // k, v, up
    const Weight qkv = joined_weight_of(parameters, "model.layers.1.self_attn.q_proj.weight");
    BOOST_CHECK(qkv.value.shape == Shape({24, 8}) && qkv.gradient.shape == Shape({24, 8}));
    const Weight gate_up = joined_weight_of(parameters, "model.layers.1.mlp.gate_proj.weight");
    BOOST_CHECK(gate_up.value.shape == Shape({24, 8}));
    BOOST_CHECK_THROW(weight_of(parameters, "model.layers.1.mlp.gate"), InvariantError);
}

BOOST_AUTO_TEST_SUITE_END()

} // namespace
} // namespace sluice
