#include "src/train/token_stream.hpp"

#include "core/compute_stream.hpp"
#include "core/error.hpp"

#include <algorithm>
#include <vector>

namespace sluice {

namespace {

/// Hands out either half of the micro-batches of a BatchReader, from one of them on.
class WindowSource : public TokenSource {
public:
    WindowSource(BatchReader reader, const BatchConfig& sizes)
        : reader_(std::move(reader)), sizes_(sizes), shape_{sizes.micro_batch_size, sizes.seq_len}
    {
    }

    void start_at(std::int64_t batch, std::int64_t first_microbatch)
    {
        batch_ = batch;
        first_microbatch_ = first_microbatch;
    }
    std::uint64_t num_windows() const { return reader_.num_windows(); }

    void inputs(std::int32_t microbatch, const TensorView& into) override
    {
        reader_.read(sample_of(microbatch), into.reshape(shape_), {});
    }
    void targets(std::int32_t microbatch, const TensorView& into) override
    {
        reader_.read(sample_of(microbatch), {}, into.reshape(shape_));
    }

private:
    std::uint64_t sample_of(std::int32_t microbatch) const
    {
        return first_sample_of_microbatch(batch_, first_microbatch_ + microbatch,
                                          sizes_.global_batch_size, sizes_.micro_batch_size);
    }

    BatchReader reader_;
    BatchConfig sizes_;
    Shape shape_; ///< [B,T]
    std::int64_t batch_ = 1, first_microbatch_ = 0;
};

/// Micro-batches in memory.
class HeldTokens : public TokenSource {
public:
    void read(TokenSource& from, std::int32_t count, std::int64_t tokens_each,
              const TokenHalves& needed)
    {
        tokens_each_ = tokens_each;
        const auto size = static_cast<std::size_t>(count * tokens_each);
        inputs_.resize(needed.inputs ? size : 0);
        targets_.resize(needed.targets ? size : 0);
        for (std::int32_t microbatch = 0; microbatch < count; ++microbatch) {
            if (needed.inputs)
                from.inputs(microbatch, part(inputs_, microbatch));
            if (needed.targets)
                from.targets(microbatch, part(targets_, microbatch));
        }
    }

    void inputs(std::int32_t microbatch, const TensorView& into) override
    {
        copy(Stream{}, part(inputs_, microbatch), into.reshape({tokens_each_}));
    }
    void targets(std::int32_t microbatch, const TensorView& into) override
    {
        copy(Stream{}, part(targets_, microbatch), into.reshape({tokens_each_}));
    }

private:
    TensorView part(std::vector<std::int32_t>& of, std::int32_t microbatch) const
    {
        return {of.data() + microbatch * tokens_each_, DType::i32, {tokens_each_}, Device{}};
    }

    std::vector<std::int32_t> inputs_, targets_;
    std::int64_t tokens_each_ = 0;
};

TokenFile open(const std::filesystem::path& path, const RunConfig& config)
{
    TokenFile file(path);
    check_vocabulary(file, config.model.vocab_size);
    return file;
}

} // namespace

struct TokenStream::Parts {
    explicit Parts(const RunConfig& config)
        : batch(config.batch), eval_tokens(config.eval.tokens),
          train_file(open(config.data.train, config)),
          training(BatchReader::shuffled(train_file, batch.seq_len, config.run.seed), batch)
    {
        if (config.data.validation.empty())
            return;
        validation_file.emplace(open(config.data.validation, config));
        check_tokenizer(*validation_file, train_file);
        evaluation.emplace(BatchReader::in_order(*validation_file, batch.seq_len), batch);
        if (evaluation->num_windows() < static_cast<std::uint64_t>(batch.micro_batch_size))
            throw data_error("the file holds " + std::to_string(evaluation->num_windows()) +
                                 " sequences of " + std::to_string(batch.seq_len) +
                                 " tokens, fewer than one micro-batch of " +
                                 std::to_string(batch.micro_batch_size),
                             config.data.validation.string(),
                             "prepare a larger validation file, or remove data.validation");
    }

    BatchConfig batch;
    std::int64_t eval_tokens;
    TokenFile train_file;
    WindowSource training;
    std::optional<TokenFile> validation_file;
    std::optional<WindowSource> evaluation;
    HeldTokens held;
};

TokenStream::TokenStream(const RunConfig& config) : parts_(std::make_unique<Parts>(config)) {}
TokenStream::~TokenStream() = default;

const TokenFileInfo& TokenStream::train_info() const { return parts_->train_file.info(); }
std::uint64_t TokenStream::num_train_sequences() const { return parts_->training.num_windows(); }
bool TokenStream::has_validation() const { return parts_->evaluation.has_value(); }
bool TokenStream::train_was_written_to() const { return parts_->train_file.was_written_to(); }
bool TokenStream::validates_what_it_trains_on() const
{
    return has_validation() && parts_->validation_file->info().checksum == train_info().checksum;
}

TokenSource& TokenStream::training(std::int64_t batch, std::int64_t first_microbatch)
{
    parts_->training.start_at(batch, first_microbatch);
    return parts_->training;
}

TokenSource& TokenStream::evaluation(std::int64_t first_microbatch)
{
    parts_->evaluation->start_at(1, first_microbatch); // the whole file, as if one batch
    return *parts_->evaluation;
}

TokenSource& TokenStream::evaluation_ahead(std::int64_t first_microbatch, std::int32_t count,
                                           const TokenHalves& needed)
{
    parts_->held.read(evaluation(first_microbatch), count,
                      parts_->batch.micro_batch_size * parts_->batch.seq_len, needed);
    return parts_->held;
}

std::int32_t TokenStream::num_evaluation_microbatches() const
{
    const auto windows =
        std::min(static_cast<std::int64_t>(parts_->evaluation->num_windows()),
                 std::max<std::int64_t>(1, parts_->eval_tokens / parts_->batch.seq_len));
    return static_cast<std::int32_t>(
        std::max<std::int64_t>(1, windows / parts_->batch.micro_batch_size));
}

} // namespace sluice
