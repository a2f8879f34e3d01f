// The fixtures' model as the program builds it: sizes, weights and tokens put where a chunk wants
// them, in a GPU's memory too, numbers taken out as float64 whatever the backend computes in.
#pragma once

#include "core/parallel.hpp"
#include "layers/model_chunk.hpp"
#include "tests/oracle/oracle_fixture.hpp"

#include <string>
#include <vector>

namespace sluice::testing {

/// Runs a test on one thread: at these sizes a second one only waits, and bits do not depend on it.
class OneThread {
public:
    OneThread() : before_(num_threads()) { set_num_threads(1); }
    ~OneThread() { set_num_threads(before_); }
    OneThread(const OneThread&) = delete;
    OneThread& operator=(const OneThread&) = delete;

private:
    int before_;
};

ModelSpec model_of(const OracleFixture& fixture);

/// Which kernels a model runs on and where, and in which types.
struct Path {
    Stream stream{.backend = Backend::reference};
    Precision precision = fp64_precision;
    const char* name = "float64"; ///< for headings
};

/// Options of one chunk of the fixture's model; `num_slots` micro-batches in flight.
ModelChunkOptions chunk_options(const OracleFixture& fixture, const LayerRange& range,
                                const Path& path, BackwardSplit split, std::int64_t num_slots);

LayerRange whole_model(const ModelSpec& spec);

/// The parameters' weights from `group` ("initial"): masters, where there are, and their rounded
/// copies.
void load_weights(ModelChunk& chunk, const OracleFixture& fixture, const std::string& group);

/// The fixture's tokens; `inputs` and `targets` are [updates,sequences,seq_len].
class OracleTokens {
public:
    explicit OracleTokens(const OracleFixture& fixture);
    std::int64_t num_microbatches() const { return num_microbatches_; }
    std::int64_t targets_per_update() const { return num_microbatches_ * microbatch_tokens_; }
    /// Puts micro-batch `m` of `update` into `slot`, as far as the chunk has embedding and head.
    void fill(ModelChunk& chunk, std::int64_t slot, std::int64_t update, std::int64_t m) const;

private:
    std::vector<std::int32_t> inputs_, targets_;
    std::int64_t num_microbatches_, microbatch_tokens_;
};

/// What the tests of the paths in single precision and bf16 run on: the CPU, or, in a program that
/// links another definition, a GPU, which may be an emulated one (tests/layers/kernels/cuda).
Stream tested_stream();
/// Of the training fixtures those that these paths are trained on: all on the CPU, one per
/// arrangement on GPUs.
std::vector<std::string> tested_training_fixtures();

/// All elements, as float64 (dtype f32, f64 or bf16), when `stream` has come to them.
std::vector<double> numbers_of(const TensorView& tensor, const Stream& stream);
void append(std::vector<double>& to, const TensorView& tensor, const Stream& stream);

} // namespace sluice::testing
