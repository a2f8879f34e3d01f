// Which cores and GPUs each rank was given: printed once at the start, one line per node, because a
// wrong binding makes a run slow without a word.
#pragma once

#include <string>
#include <vector>

namespace sluice {

struct RankBinding {
    std::string node;
    std::string cores; ///< "0-3,8"
    std::string gpus;  ///< what CUDA_VISIBLE_DEVICES says; empty: nothing
};

/// Of this process.
RankBinding binding_of_this_rank();

std::string to_text(const RankBinding& binding);
RankBinding binding_from(const std::string& text);

/// "n1: rank 0 on cores 0-3, rank 1 on cores 4-7", a node's ranks in order; ranks that follow each
/// other and share the same cores are told together: "ranks 0-3 share cores 0-1".
std::vector<std::string> binding_lines(const std::vector<RankBinding>& of_rank);

} // namespace sluice
