# bash completion for filedup: the program knows its own verbs and options.
source <(filedup --completion bash)
