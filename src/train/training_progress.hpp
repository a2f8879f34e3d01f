// What people see while a run goes on: one line redrawn on a terminal, plain lines when piped.
#pragma once

#include "src/config/run_config.hpp"
#include "src/train/progress_line.hpp"
#include "src/train/training_pace.hpp"

#include <chrono>
#include <cstdint>
#include <span>
#include <string>

namespace sluice {

struct ProgressPoint {
    std::int64_t update = 0; ///< completed
    double loss = 0.0;
    double seconds = 0.0;           ///< of this update
    std::span<const double> alphas; ///< of every layer
};

class TrainingProgress {
public:
    explicit TrainingProgress(const RunConfig& config);

    void show(const ProgressPoint& point);
    /// A full line above the progress line; also written to the log.
    void note(const std::string& text);
    void warn(const std::string& text); ///< the same as a warning
    void finish();

private:
    std::string text_of(const ProgressPoint& point) const;

    std::int64_t num_updates_, tokens_per_update_;
    TrainingPace pace_;
    ProgressLine line_;
};

/// "gates 37% (5/16 open)".
std::string gates_text(std::span<const double> alphas);

} // namespace sluice
