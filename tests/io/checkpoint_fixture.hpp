// Small checkpoints for the tests, and ways to damage them.
#pragma once

#include "io/checkpoint.hpp"

#include <cstdint>
#include <filesystem>
#include <functional>
#include <string>
#include <vector>

namespace sluice::testing {

/// A temporary folder, deleted with everything in it.
class ScratchFolder {
public:
    ScratchFolder();
    ~ScratchFolder();
    ScratchFolder(const ScratchFolder&) = delete;
    const std::filesystem::path& path() const { return path_; }

private:
    std::filesystem::path path_;
};

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

/// The message of the UserError (data) that `work` throws, or "nothing thrown".
std::string message_of(const std::function<void()>& work);

bool contains(const std::string& text, const std::string& part);

/// Opens, verifies, reads everything: the first problem found, or "" when all is well.
std::string first_problem(const std::filesystem::path& folder);

} // namespace sluice::testing
