// Text to token files: documents read in order, tokenized on several threads, written in order, and
// split into training and validation by document.
#pragma once

#include "io/text_source.hpp"
#include "io/tokenizer.hpp"

#include <cstdint>
#include <filesystem>
#include <functional>
#include <string>
#include <vector>

namespace sluice {

struct PrepareOptions {
    std::vector<std::string> inputs;
    TextSourceOptions source;
    std::filesystem::path out;
    /// In [0, 1): about this share of the documents goes to `validation_out`; 0: no split.
    double validation_fraction = 0.0;
    std::filesystem::path validation_out;
    std::uint64_t split_seed = 0;
    int num_threads = 0; ///< that tokenize; 0: every core that this process may use
    std::string created_by;
};

struct PreparedFile {
    std::filesystem::path path; ///< empty: not written
    std::uint64_t num_documents = 0;
    std::uint64_t num_tokens = 0; ///< one end token per document included
    std::uint64_t size_bytes = 0;
};

struct PrepareSummary {
    TextSourceCounts source;
    PreparedFile train, validation;
    double seconds = 0.0;

    std::uint64_t num_tokens() const { return train.num_tokens + validation.num_tokens; }
    double bytes_per_token() const ///< of UTF-8 text
    {
        return static_cast<double>(source.text_bytes) / static_cast<double>(num_tokens());
    }
};

/// How far it is, told a few times a second.
struct PrepareProgress {
    std::uint64_t input_bytes_done = 0, input_bytes = 0; ///< on disk
    std::uint64_t documents = 0, text_bytes = 0, tokens = 0;
    double seconds = 0.0;
};

struct PrepareListener {
    std::function<void(const PrepareProgress&)> progress; ///< may be empty
    std::function<void(const std::string&)> note;         ///< what was passed over; may be empty
};

/// Whether document `document` (counted from 0 over the whole input) is in the validation half: a
/// pure function of its arguments, so neither threads nor later documents move one.
bool in_validation(std::uint64_t split_seed, std::uint64_t document, double validation_fraction);

/// Writes options.out and, with a fraction above 0, options.validation_out; folders are created.
/// The files' bytes depend on text, tokenizer and split alone, not on num_threads. Throws UserError
/// (usage) for options that contradict each other, (data) as TextSource and TokenFileWriter do, and
/// when one half of the split gets no document. When it throws, neither file has been touched, but
/// for a failure in the last moment, when the first of two may be there already.
PrepareSummary prepare_tokens(const PrepareOptions& options, const Tokenizer& tokenizer,
                              const PrepareListener& listener = {});

} // namespace sluice
