#include "tests/oracle/oracle_model.hpp"

#include "core/bfloat16.hpp"

#include <algorithm>
#include <stdexcept>

namespace sluice::testing {
namespace {

Arrangement arrangement_named(const std::string& name)
{
    for (const Arrangement arrangement :
         {Arrangement::pre, Arrangement::post, Arrangement::sandwich, Arrangement::deepnorm,
          Arrangement::lns})
        if (name_of(arrangement) == name)
            return arrangement;
    throw std::runtime_error("no arrangement is called " + name);
}

void assign(const TensorView& to, const std::vector<double>& numbers)
{
    const auto write_as = [&](auto* elements, auto rounded) {
        std::transform(numbers.begin(), numbers.end(), elements, rounded);
    };
    if (to.dtype == DType::bf16)
        write_as(to.as<BFloat16>(), [](double x) { return bfloat16_of(static_cast<float>(x)); });
    else if (to.dtype == DType::f32)
        write_as(to.as<float>(), [](double x) { return static_cast<float>(x); });
    else
        write_as(to.as<double>(), [](double x) { return x; });
}

} // namespace

ModelSpec model_of(const OracleFixture& fixture)
{
    ModelSpec spec;
    spec.vocab_size = fixture.integer_attribute("vocab_size");
    spec.hidden_size = fixture.integer_attribute("hidden_size");
    spec.intermediate_size = fixture.integer_attribute("intermediate_size");
    spec.num_layers = fixture.integer_attribute("num_layers");
    spec.num_heads = fixture.integer_attribute("num_heads");
    spec.norm_eps = fixture.attribute("norm_eps");
    spec.rope_base = fixture.attribute("rope_base");
    spec.arrangement = arrangement_named(fixture.text_attribute("arrangement"));
    return spec;
}

ModelChunkOptions chunk_options(const OracleFixture& fixture, const LayerRange& range,
                                const Path& path, BackwardSplit split, std::int64_t num_slots)
{
    ModelChunkOptions options;
    options.model = model_of(fixture);
    options.model.max_seq_len = fixture.integer_attribute("seq_len");
    options.range = range;
    options.micro_batch = {fixture.integer_attribute("micro_batch_size"),
                           fixture.integer_attribute("seq_len")};
    options.num_slots = num_slots;
    options.num_gradient_slots = num_slots;
    options.split = split;
    options.stream.backend = path.backend;
    options.precision = path.precision;
    return options;
}

LayerRange whole_model(const ModelSpec& spec)
{
    return {.begin = 0, .end = spec.num_layers, .embedding = true, .head = true};
}

void load_weights(ModelChunk& chunk, const OracleFixture& fixture, const std::string& group)
{
    for (const Parameter& parameter : chunk.parameters()) {
        const std::string path = group + "/" + dataset_path(parameter.spec.name);
        const std::vector<double> numbers = fixture.numbers(path);
        std::vector<std::int64_t> extents;
        for (int axis = 0; axis < parameter.spec.shape.rank(); ++axis)
            extents.push_back(parameter.spec.shape[axis]);
        if (extents != fixture.extents(path))
            throw std::runtime_error(path + " is not " + parameter.spec.shape.text());
        assign(parameter.value, numbers);
        if (parameter.has_master())
            assign(parameter.master, numbers);
    }
}

OracleTokens::OracleTokens(const OracleFixture& fixture)
    : inputs_(fixture.integers("tokens/inputs")), targets_(fixture.integers("tokens/targets"))
{
    const std::int64_t sequences = fixture.integer_attribute("micro_batch_size");
    num_microbatches_ = fixture.integer_attribute("global_batch_size") / sequences;
    microbatch_tokens_ = sequences * fixture.integer_attribute("seq_len");
}

void OracleTokens::fill(ModelChunk& chunk, std::int64_t slot, std::int64_t update,
                        std::int64_t m) const
{
    const std::int64_t begin = (update * num_microbatches_ + m) * microbatch_tokens_;
    if (chunk.options().range.embedding)
        std::copy_n(inputs_.begin() + begin, microbatch_tokens_,
                    chunk.input_tokens(slot).as<std::int32_t>());
    if (chunk.options().range.head)
        std::copy_n(targets_.begin() + begin, microbatch_tokens_,
                    chunk.target_tokens(slot).as<std::int32_t>());
}

void append(std::vector<double>& to, const TensorView& tensor)
{
    if (tensor.dtype == DType::bf16)
        for (const BFloat16 x : tensor.elements<BFloat16>())
            to.push_back(static_cast<double>(float_of(x)));
    else if (tensor.dtype == DType::f32)
        to.insert(to.end(), tensor.elements<float>().begin(), tensor.elements<float>().end());
    else
        to.insert(to.end(), tensor.elements<double>().begin(), tensor.elements<double>().end());
}

std::vector<double> numbers_of(const TensorView& tensor)
{
    std::vector<double> numbers;
    append(numbers, tensor);
    return numbers;
}

} // namespace sluice::testing
