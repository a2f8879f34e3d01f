#include "tests/oracle/oracle_model.hpp"

#include "core/bfloat16.hpp"
#include "core/cuda/gpu_stream.hpp"

#include <algorithm>
#include <cstddef>
#include <cstring>
#include <iterator>
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

/// Between the host's memory and that of the stream, in either direction. Blocks.
void transfer(void* to, const void* from, std::size_t num_bytes, const Stream& stream)
{
    if (stream.backend != Backend::cuda) {
        std::memcpy(to, from, num_bytes);
        return;
    }
    const GpuStream& gpu = GpuStream::of(stream);
    gpu.copy(to, from, num_bytes);
    gpu.synchronize();
}

void assign(const TensorView& to, const std::vector<double>& numbers, const Stream& stream)
{
    const auto write_as = [&]<class T>(T, auto rounded) {
        std::vector<T> elements(numbers.size());
        std::transform(numbers.begin(), numbers.end(), elements.begin(), rounded);
        transfer(to.data, elements.data(), to.num_bytes(), stream);
    };
    if (to.dtype == DType::bf16)
        write_as(BFloat16{}, [](double x) { return bfloat16_of(static_cast<float>(x)); });
    else if (to.dtype == DType::f32)
        write_as(float{}, [](double x) { return static_cast<float>(x); });
    else
        write_as(double{}, [](double x) { return x; });
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
    options.stream = path.stream;
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
        const Stream& stream = chunk.options().stream;
        assign(parameter.value, numbers, stream);
        if (parameter.has_master())
            assign(parameter.master, numbers, stream);
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
    const auto put = [&](const TensorView& to, const std::vector<std::int32_t>& tokens) {
        transfer(to.data, tokens.data() + begin,
                 static_cast<std::size_t>(microbatch_tokens_) * sizeof(std::int32_t),
                 chunk.options().stream);
    };
    if (chunk.options().range.embedding)
        put(chunk.input_tokens(slot), inputs_);
    if (chunk.options().range.head)
        put(chunk.target_tokens(slot), targets_);
}

void append(std::vector<double>& to, const TensorView& tensor, const Stream& stream)
{
    const auto read_as = [&]<class T>(T, auto number) {
        std::vector<T> elements(static_cast<std::size_t>(tensor.num_elements()));
        transfer(elements.data(), tensor.data, tensor.num_bytes(), stream);
        std::transform(elements.begin(), elements.end(), std::back_inserter(to), number);
    };
    if (tensor.dtype == DType::bf16)
        read_as(BFloat16{}, [](BFloat16 x) { return static_cast<double>(float_of(x)); });
    else if (tensor.dtype == DType::f32)
        read_as(float{}, [](float x) { return static_cast<double>(x); });
    else
        read_as(double{}, [](double x) { return x; });
}

std::vector<double> numbers_of(const TensorView& tensor, const Stream& stream)
{
    std::vector<double> numbers;
    append(numbers, tensor, stream);
    return numbers;
}

} // namespace sluice::testing
