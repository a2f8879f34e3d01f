// Checkpoints of a small run, for tests of what a start does with them.
#pragma once

#include "core/error.hpp"
#include "src/train/resume.hpp"
#include "tests/src/config/run_text_fixture.hpp"
#include "tests/temporary_folder.hpp"

#include <filesystem>
#include <memory>
#include <optional>
#include <string>

namespace sluice::testing {

/// A run's checkpoints, with one array each. Their folder is made with the first.
struct Checkpoints {
    TemporaryFolder run;
    std::filesystem::path folder = run / "checkpoints";
    std::unique_ptr<Transport> alone = make_in_process_transport();

    std::filesystem::path add(std::int64_t update, const RunConfig& config = small(),
                              const std::string& arithmetic = {})
    {
        float weights[4] = {1, 2, 3, static_cast<float>(update)};
        StageContents contents;
        contents.warmup = {{.first_layer = 0, .counters = {1}, .alphas = {1.0}}};
        contents.progress.update = update;
        contents.progress.arithmetic = arithmetic;
        contents.config_toml = resolved_toml(config);
        const TensorView view{weights, DType::f32, {4}, {}};
        for (const char* group :
             {"parameters", "optimizer/first_moment", "optimizer/second_moment"})
            contents.arrays.push_back({dataset_path(group, "model.norm.weight"), view});
        const std::filesystem::path partial = folder / partial_folder_name(update);
        std::filesystem::create_directories(folder);
        const std::filesystem::path whole = folder / checkpoint_folder_name(update);
        const ManifestEntry entry = write_stage_file(partial, 0, 1, contents);
        finish_checkpoint(partial, whole, {entry});
        return whole;
    }
    static void damage(const std::filesystem::path& checkpoint)
    {
        for (const auto& file : std::filesystem::directory_iterator(checkpoint))
            if (file.path().filename().string().starts_with("stage"))
                std::filesystem::resize_file(file.path(),
                                             std::filesystem::file_size(file.path()) - 1);
    }
    std::optional<std::filesystem::path> choose(ResumeMode mode = ResumeMode::automatic,
                                                std::filesystem::path path = {})
    {
        const auto chosen = choose_checkpoint(folder, {mode, std::move(path)}, *alone);
        return chosen ? std::optional(chosen->path) : std::nullopt;
    }
};

inline bool is(const UserError& error, ExitCode code, const char* part)
{
    return error.code() == code && error.problem().find(part) != std::string::npos;
}

} // namespace sluice::testing
