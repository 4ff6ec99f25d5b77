// Stands in for llama.cpp's common/arg.cpp when benchmarks/kld_oracle.py builds llama-perplexity: the scoring stays llama.cpp's
// own source, only the reading of its options is this. arg.cpp alone would pull in chat templates, HTTP and JSON schemas.

#include "arg.h"
#include "common.h"
#include "speculative.h"

#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <sstream>
#include <string>

static ggml_type cache_type(const std::string & name) {
    return name == "f32" ? GGML_TYPE_F32 : GGML_TYPE_F16;
}

bool common_params_parse(int argc, char ** argv, common_params & params, llama_example, void (*)(int, char **)) {
    for (int i = 1; i < argc; ++i) {
        const std::string option = argv[i];
        if (option == "--kl-divergence") {
            params.kl_divergence = true;
            continue;
        }
        if (i + 1 == argc) {
            fprintf(stderr, "no value for %s\n", option.c_str());
            return false;
        }
        const std::string value = argv[++i];
        if (option == "-m") {
            params.model.path = value;
        } else if (option == "-f") {
            std::ifstream file(value, std::ios::binary);
            std::stringstream text;
            text << file.rdbuf();
            params.prompt = text.str();
        } else if (option == "-c") {
            params.n_ctx = std::stoi(value);
        } else if (option == "-b") {
            params.n_batch = params.n_ubatch = std::stoi(value);
        } else if (option == "-t") {
            params.cpuparams.n_threads = params.cpuparams_batch.n_threads = std::stoi(value);
        } else if (option == "-ct") {
            params.cache_type_k = params.cache_type_v = cache_type(value);
            // as quantplay does: flash attention on a CPU would round a float32 cache to float16
            params.flash_attn_type = value == "f32" ? LLAMA_FLASH_ATTN_TYPE_DISABLED : LLAMA_FLASH_ATTN_TYPE_AUTO;
        } else if (option == "--kl-divergence-base") {
            params.logits_file = value;
        } else {
            fprintf(stderr, "unknown option %s\n", option.c_str());
            return false;
        }
    }
    params.fit_params = false;  // fits a model to a GPU's memory; there is none
    params.warmup     = false;
    return true;
}

// Referred to by common.cpp, never reached: no draft model is asked for.
common_params common_base_params_to_speculative(const common_params & params) {
    (void) params;
    abort();
}
