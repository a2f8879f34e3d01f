// The fixtures' model as the program builds it: sizes, weights and tokens put where a chunk wants
// them, numbers taken out as float64 whatever the backend computes in.
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

/// Which kernels a model runs on, and in which types.
struct Path {
    Backend backend = Backend::reference;
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

/// Which kernels the tests of the single-precision path run: the CPU's, or, in a program that links
/// another definition, those for GPUs on the CPU (tests/layers/kernels/cuda).
Backend single_precision_backend();
/// Of the training fixtures those that the path is trained on: all on the CPU, one per arrangement
/// where kernels are emulated.
std::vector<std::string> single_precision_fixtures();

/// All elements, as float64 (dtype f32, f64 or bf16).
std::vector<double> numbers_of(const TensorView& tensor);
void append(std::vector<double>& to, const TensorView& tensor);

} // namespace sluice::testing
