// Tokenizing on several threads with results in the order of the input.
#pragma once

#include "io/text_source.hpp"
#include "io/tokenizer.hpp"

#include <cstdint>
#include <memory>
#include <vector>

namespace sluice {

/// Some pieces of text, and their ids one piece after another.
struct TokenizedBatch {
    std::vector<TextPiece> pieces;
    std::vector<std::uint32_t> tokens;
    std::vector<std::size_t> ends; ///< in `tokens`, one per piece
};

class ParallelTokenizer {
public:
    /// `tokenizer` must outlive this. num_threads >= 1.
    ParallelTokenizer(const Tokenizer& tokenizer, int num_threads);
    ~ParallelTokenizer(); ///< drops what was not taken
    ParallelTokenizer(const ParallelTokenizer&) = delete;
    ParallelTokenizer& operator=(const ParallelTokenizer&) = delete;

    /// Batches handed in and not yet taken back. A caller keeps them below max_in_flight(), which
    /// bounds memory and keeps every thread busy.
    std::size_t num_in_flight() const;
    std::size_t max_in_flight() const;

    void submit(std::vector<TextPiece> pieces);
    /// Waits for the oldest batch in flight. Rethrows what its tokenizing threw.
    TokenizedBatch take();

private:
    struct Workers;
    std::unique_ptr<Workers> workers_;
};

} // namespace sluice
