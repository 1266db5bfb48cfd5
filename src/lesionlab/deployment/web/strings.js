// Every word of the page, in both languages. A key that is missing in one is an error (tests).

export const STRINGS = {
  en: {
    name: "English",
    skip: "Skip to the content",
    where: "",
    whereServer: "The image goes to this server's memory, is answered and forgotten.",
    whereBrowser: "Everything happens in this browser: the image does not leave this device.",
    model: "Model",
    notice: "Research use only. Not a medical device, no advice to a patient.",
    leaky: "LEAKY: images of one patient or lesion were in training and test; its figures are inflated.",
    synthetic: "SYNTHETIC: this model has seen drawn pictures only; it knows nothing about skin.",
    inTitle: "Image",
    drop: "Drop an image here, or paste one (Ctrl+V).",
    choose: "Choose a file",
    photograph: "Photograph",
    caseTitle: "What is known of the case",
    caseNote: "This model also reads these. What is left empty is unknown to it.",
    age: "Age in years",
    sex: "Sex",
    site: "Site",
    sexes: { female: "female", male: "male" },
    unknown: "unknown",
    token: "Token of this server",
    ok: "OK",
    mapClass: "Heat map for",
    mapStrength: "Strength",
    mapNote: "Where the network found evidence for the class. It is no outline of a lesion, and no proof that it looked at the right thing.",
    outTitle: "Answer",
    waiting: "No image yet.",
    loading: "Loading the model …",
    ready: "Ready.",
    working: "Working …",
    done: "Done.",
    failed: "No answer: {0}",
    busy: "The server is busy. Try again in {0} s.",
    noImage: "That is no image.",
    ood: "Not like the training images (distance {0} times the limit). Do not rely on what follows.",
    positive: "Positive: {0} % for {1} reaches the threshold of {2} %.",
    negative: "Negative: {0} % for {1} stays below the threshold of {2} %.",
    abstainedOod: "No decision: the image is not like the training images.",
    abstainedSet: "No decision: classes of both sides remain possible.",
    noPoint: "No decision: this model has no operating point.",
    point: "Operating point: {0}, chosen on {1} images. There, sensitivity {2}, specificity {3}.",
    policies: {
      sensitivity_bound: "sensitivity of at least {0} %, with 95 % confidence",
      sensitivity: "observed sensitivity of {0} %",
      specificity: "observed specificity of {0} %",
      youden: "greatest sum of sensitivity and specificity",
      cost: "least expected cost",
      fixed: "a given threshold",
    },
    parts: { valid: "validation", calib: "calibration", train: "training" },
    measure: "{0} % (95 % interval {1} to {2})",
    measureAlone: "{0} % (too little to say more)",
    undefinedMeasure: "unknown",
    probabilities: "Probabilities",
    prior: "They hold where the classes are as frequent as in the data set “{0}”.",
    words: ["very unlikely", "unlikely", "possible", "about even", "likely", "very likely"],
    setTitle: "Classes that remain possible",
    set: "With {0} confidence: {1}",
    setEmpty: "none (the image fits no class well)",
    noSet: "This model has no conformal sets.",
    similarTitle: "Similar training images",
    similar: "The nearest training images are: {0}",
    similarOne: "{0} × {1}",
    similarNote: "Similar to the network, which need not be similar to you.",
    noSimilar: "This model carries no training embeddings.",
    notTitle: "What this is not",
    not: [
      "No diagnosis, and no medical device. Dermoscopy alone is no diagnosis: one image shows neither history nor change nor the rest of the skin.",
      "Not tested for all skin types, ages and devices. Elsewhere it tends to be worse.",
      "A negative answer excludes nothing. Who is worried sees a physician.",
    ],
    card: "Model card",
    picture: "The image as given",
    list: ", ",
    classes: {
      mel: "melanoma", nv: "melanocytic nevus", bcc: "basal cell carcinoma",
      akiec: "actinic keratosis / Bowen's disease", bkl: "benign keratosis",
      df: "dermatofibroma", vasc: "vascular lesion", nevus: "nevus", melanoma: "melanoma",
      seborrheic_keratosis: "seborrheic keratosis", benign: "benign", malignant: "malignant",
    },
  },
  zh: {
    name: "简体中文",
    skip: "跳到内容",
    where: "",
    whereServer: "图像只进入本服务器的内存，回答后即被丢弃。",
    whereBrowser: "全部计算都在此浏览器中完成：图像不会离开本设备。",
    model: "模型",
    notice: "仅供研究使用。不是医疗器械，不构成对患者的建议。",
    leaky: "数据泄漏：同一患者或病灶的图像同时出现在训练集和测试集中，其指标偏高。",
    synthetic: "合成数据：此模型只见过绘制的图片，对真实皮肤一无所知。",
    inTitle: "图像",
    drop: "将图像拖到此处，或粘贴（Ctrl+V）。",
    choose: "选择文件",
    photograph: "拍照",
    caseTitle: "已知的病例信息",
    caseNote: "此模型也会读取这些信息。留空即为未知。",
    age: "年龄（岁）",
    sex: "性别",
    site: "部位",
    sexes: { female: "女", male: "男" },
    unknown: "未知",
    token: "本服务器的令牌",
    ok: "确定",
    mapClass: "热力图类别",
    mapStrength: "强度",
    mapNote: "显示网络在何处找到该类别的依据。它不是病灶轮廓，也不能证明网络看对了地方。",
    outTitle: "结果",
    waiting: "尚无图像。",
    loading: "正在加载模型……",
    ready: "就绪。",
    working: "正在计算……",
    done: "完成。",
    failed: "没有结果：{0}",
    busy: "服务器繁忙，请在 {0} 秒后重试。",
    noImage: "这不是图像。",
    ood: "与训练图像不相似（距离为界限的 {0} 倍）。请勿依赖以下内容。",
    positive: "阳性：{1}的概率 {0} % 达到阈值 {2} %。",
    negative: "阴性：{1}的概率 {0} % 低于阈值 {2} %。",
    abstainedOod: "不作判定：该图像与训练图像不相似。",
    abstainedSet: "不作判定：两侧的类别都仍有可能。",
    noPoint: "不作判定：此模型没有工作点。",
    point: "工作点：{0}，在{1}图像上选定。当时灵敏度 {2}，特异度 {3}。",
    policies: {
      sensitivity_bound: "以 95 % 的置信度，灵敏度不低于 {0} %",
      sensitivity: "观察到的灵敏度为 {0} %",
      specificity: "观察到的特异度为 {0} %",
      youden: "灵敏度与特异度之和最大",
      cost: "预期代价最小",
      fixed: "给定的阈值",
    },
    parts: { valid: "验证", calib: "校准", train: "训练" },
    measure: "{0} %（95 % 区间 {1} 至 {2}）",
    measureAlone: "{0} %（数据太少，无法给出区间）",
    undefinedMeasure: "未知",
    probabilities: "概率",
    prior: "仅当各类别的比例与数据集“{0}”相同时成立。",
    words: ["可能性极小", "不太可能", "有可能", "可能性相当", "很可能", "非常可能"],
    setTitle: "仍有可能的类别",
    set: "置信度 {0}：{1}",
    setEmpty: "无（该图像与任何类别都不太相符）",
    noSet: "此模型没有共形预测集。",
    similarTitle: "相似的训练图像",
    similar: "最接近的训练图像为：{0}",
    similarOne: "{0} × {1}",
    similarNote: "对网络而言相似，对人未必相似。",
    noSimilar: "此模型不含训练嵌入。",
    notTitle: "这不是什么",
    not: [
      "这不是诊断，也不是医疗器械。仅凭皮肤镜不能作出诊断：一张图像看不到病史、变化和其余皮肤。",
      "未在所有肤色、年龄和设备上验证。换一个环境，表现往往更差。",
      "阴性结果不能排除任何情况。如有疑虑，请就医。",
    ],
    card: "模型卡",
    picture: "所给图像",
    list: "、",
    classes: {
      mel: "黑色素瘤", nv: "黑素细胞痣", bcc: "基底细胞癌", akiec: "光化性角化病 / 鲍温病",
      bkl: "良性角化病", df: "皮肤纤维瘤", vasc: "血管性病变", nevus: "痣",
      melanoma: "黑色素瘤", seborrheic_keratosis: "脂溢性角化病", benign: "良性",
      malignant: "恶性",
    },
  },
};

export const LANGUAGES = Object.keys(STRINGS);

// A number and its sign stay on one line.
export function fill(template, ...values) {
  const filled = template.replace(/\{(\d)\}/g, (_, n) => values[Number(n)]);
  return filled.replace(/ %/g, "\u00a0%").replace(/ × /g, "\u00a0×\u00a0");
}

export function pointWords(words, point) {
  const named = Object.hasOwn(words.policies, point.policy) ? words.policies[point.policy] : point.policy;
  return fill(named, point.target === null ? "" : (100 * point.target).toFixed(0));
}

export function partWords(words, part) {
  return Object.hasOwn(words.parts, part) ? words.parts[part] : part;
}

export function className(words, name) {
  return Object.hasOwn(words.classes, name) ? `${words.classes[name]} (${name})` : name;
}

// 0.034 -> "3.4", 0.00002 -> "< 0.1": never a rounded 0 or 100 for what is neither.
export function percent(p) {
  if (p > 0 && p < 0.001) return "< 0.1";
  if (p < 1 && p > 0.999) return "> 99.9";
  return (100 * p).toFixed(1);
}

export function word(words, p) {
  const limits = [0.02, 0.2, 0.4, 0.6, 0.9];
  return words.words[limits.filter((limit) => p >= limit).length];
}
