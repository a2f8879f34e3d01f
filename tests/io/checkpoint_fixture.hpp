// Small checkpoints for the tests, and ways to damage them.
#pragma once

#include "io/checkpoint.hpp"
#include "tests/temporary_folder.hpp"
#include "tests/thrown_message.hpp"

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

namespace sluice::testing {

/// A model of `num_layers` layers with an embedding and a head, filled with numbers that depend on
/// the tensor's name and `update` only.
struct ExampleModel {
    struct Tensor {
        std::string path;
        std::int64_t layer = 0; ///< -1 embedding, num_layers head
        Shape shape;
        std::vector<float> values;
    };
    std::int64_t num_layers = 0;
    std::int64_t update = 0;
    std::vector<Tensor> tensors;

    explicit ExampleModel(std::int64_t num_layers_ = 3, std::int64_t update_ = 7);
    /// What stage `stage` of `num_stages` owns.
    StageContents contents(int stage, int num_stages);
};

/// Saves as the trainer does; returns the folder of the finished checkpoint.
std::filesystem::path save(ExampleModel& model, const std::filesystem::path& checkpoints,
                           int num_stages);

/// Opens, verifies, reads everything: the first problem found, or "" when all is well.
std::string first_problem(const std::filesystem::path& folder);

} // namespace sluice::testing
